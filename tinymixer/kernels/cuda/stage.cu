// The start of a step: fetch its numbers out of those the host has staged ahead.
#include "common.cuh"

struct StagedKey {
    unsigned numbers[4];  // a Key of bernoulli_masks.cu
};

// The host fills a ring of `slots` steps on the device, many steps ahead. A recorded step cannot be told an address,
// so it finds its slot by the step counter, and copies what it needs to where the other kernels expect it:
//
//   staged_records (slots, rows, words) -> records (rows, words), a Choice of patches.cu or a record of augment.cu each
//                                       -> indices (rows,), their first words: which images of the data set
//   staged_rates (slots,)               -> state->learning_rate
//   staged_keys (slots,)                -> key, of the step's Bernoulli masks (bernoulli_masks.cu)
//   staged_mixes (slots,)               -> mix, partners (rows,), whose rows they are, and partner_indices (rows,)
//
// Without `mix` there are no partners. A thread for each word: block (threads), grid (ceil(rows * words / threads))
template <class T>
__global__ void begin_step(
    StepState* state, const int* staged_records, const float* staged_rates, const StagedKey* staged_keys,
    const Mix* staged_mixes, int* records, int* indices, StagedKey* key, Mix* mix, int* partners, int* partner_indices,
    int slots, int rows, int words) {
    const int64 slot = state->step % slots;
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) {
        state->learning_rate = staged_rates[slot];
        *key = staged_keys[slot];
        if (mix) *mix = staged_mixes[slot];
    }
    if (i >= (int64)rows * words) return;
    const int* staged = staged_records + slot * rows * words;
    records[i] = staged[i];
    const int row = i / words;
    if (i != (int64)row * words) return;
    indices[row] = staged[i];
    if (mix) {
        const int partner = (row + staged_mixes[slot].shift) % rows;
        partners[row] = partner;
        partner_indices[row] = staged[(int64)partner * words];
    }
}
