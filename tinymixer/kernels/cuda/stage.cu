// The start of a step: fetch its numbers out of those the host has staged ahead.
#include "common.cuh"

struct StagedChoice {
    int numbers[6];  // a Choice of patches.cu
};

struct StagedGenerator {
    int64 numbers[4];  // a Generator of coins.cu
};

// The host fills a ring of `slots` steps on the device, many steps ahead. A recorded step cannot be told an address,
// so it finds its slot by the step counter, and copies what it needs to where the other kernels expect it:
//
//   staged_choices (slots, images)   -> choices (images,) and indices (images,)
//   staged_rates (slots,)            -> state->learning_rate
//   staged_generators (slots,)       -> generator, which throws the step's coins (coins.cu)
//
// block (threads), grid (ceil(images / threads))
template <class T>
__global__ void begin_step(
    StepState* state, const StagedChoice* staged_choices, const float* staged_rates,
    const StagedGenerator* staged_generators, StagedChoice* choices, int* indices, StagedGenerator* generator,
    int slots, int images) {
    const int64 slot = state->step % slots;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) {
        state->learning_rate = staged_rates[slot];
        *generator = staged_generators[slot];
    }
    if (i < images) {
        choices[i] = staged_choices[slot * images + i];
        indices[i] = choices[i].numbers[0];
    }
}
