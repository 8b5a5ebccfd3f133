// The start of a step: fetch its numbers out of those the host has staged ahead.
#include "common.cuh"

struct StagedChoice {
    int numbers[6];  // a Choice of patches.cu
};

// The host fills a ring of `slots` steps on the device, many steps ahead. A recorded step cannot be told an address,
// so it finds its slot by the step counter, and copies what it needs to where the other kernels expect it:
//
//   staged_choices (slots, images)          -> choices (images,) and indices (images,)
//   staged_rates (slots,)                   -> state->learning_rate
//   staged_uniforms (slots, branches, images), rates (branches,) -> image_factor (branches, images): stochastic
//       depth's 0 or 1 / (1 - rate). A branch is kept where its number is at least the rate, as in layers/layer.py.
//
// block (threads), grid (ceil(max(images, branches * images) / threads))
template <class T>
__global__ void begin_step(
    StepState* state, const StagedChoice* staged_choices, const float* staged_rates, const float* staged_uniforms,
    const float* rates, StagedChoice* choices, int* indices, float* image_factor, int slots, int branches, int images) {
    const int64 slot = state->step % slots;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) state->learning_rate = staged_rates[slot];
    if (i < images) {
        choices[i] = staged_choices[slot * images + i];
        indices[i] = choices[i].numbers[0];
    }
    if (i < branches * images) {
        const float rate = rates[i / images];
        image_factor[i] = staged_uniforms[slot * branches * images + i] >= rate ? 1 / (1 - rate) : 0;
    }
}
