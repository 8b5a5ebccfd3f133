// The start of a step: fetch its numbers out of those the host has staged ahead.
#include "common.cuh"

struct StagedChoice {
    int numbers[6];  // a Choice of patches.cu
};

struct StagedKey {
    unsigned numbers[4];  // a Key of bernoulli_masks.cu
};

// The host fills a ring of `slots` steps on the device, many steps ahead. A recorded step cannot be told an address,
// so it finds its slot by the step counter, and copies what it needs to where the other kernels expect it:
//
//   staged_choices (slots, images)   -> choices (images,) and indices (images,)
//   staged_rates (slots,)            -> state->learning_rate
//   staged_keys (slots,)             -> key, of the step's Bernoulli masks (bernoulli_masks.cu)
//
// block (threads), grid (ceil(images / threads))
template <class T>
__global__ void begin_step(
    StepState* state, const StagedChoice* staged_choices, const float* staged_rates,
    const StagedKey* staged_keys, StagedChoice* choices, int* indices, StagedKey* key,
    int slots, int images) {
    const int64 slot = state->step % slots;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) {
        state->learning_rate = staged_rates[slot];
        *key = staged_keys[slot];
    }
    if (i < images) {
        choices[i] = staged_choices[slot * images + i];
        indices[i] = choices[i].numbers[0];
    }
}
