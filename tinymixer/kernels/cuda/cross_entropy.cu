// Softmax and cross-entropy, forward and backward at once, with the loss and the count of correct answers.
#include "common.cuh"

// What an image is to be recognised as: a label; or two of them, its own and its partner's, with their shares; or a row
// of probabilities.
struct Targets {
    const int64* labels;         // (N,)
    const int* indices;          // (B,) into the labels; null where labels are (B,)
    const float* soft;           // (B, K), or null
    const int* partner_indices;  // (B,) into the labels, where there is a mix
    const Mix* mix;              // or null
};

// The target's probability of class k, before smoothing.
__device__ inline float target_share(const Targets& targets, int image, int k, int classes) {
    if (targets.soft) return targets.soft[(int64)image * classes + k];
    const bool own = targets.labels[targets.indices ? targets.indices[image] : image] == k;
    if (!targets.mix) return own;
    const bool partner = targets.labels[targets.partner_indices[image]] == k;
    return (own ? targets.mix->target_own : 0) + (partner ? targets.mix->target_partner : 0);
}

// Mixed with the uniform distribution.
__device__ inline float smoothed(float share, int classes, float smoothing) {
    return (1 - smoothing) * share + smoothing / classes;
}

// One thread per image.
//
//   logits (B, K); labels, indices, soft, partner_indices, mix: see `Targets`
//   gradient_factor   null for 1; else a device value, the loss scale
//   batch             images that the loss is the mean over: B, or more where these are a part of a batch
//   dlogits (B, K) = factor * (softmax - target) / batch; losses (B,); correct (B,) 0 or 1
//   correct           whether the largest logit is that of the class with the largest share
template <class T>
__global__ void cross_entropy_plain(
    const float* logits, const int64* labels, const int* indices, const float* soft, const int* partner_indices,
    const Mix* mix, const StepState* state, float* dlogits, float* losses, int* correct, int images, int batch,
    int classes, float smoothing) {
    const Targets targets = {labels, indices, soft, partner_indices, mix};
    const int image = blockIdx.x * blockDim.x + threadIdx.x;
    if (image >= images) return;
    const float* row = logits + (int64)image * classes;
    float largest = row[0], total = 0, loss = 0, target_largest = -1;
    int answer = 0, wanted = 0;
    for (int k = 0; k < classes; k++) {
        const float target = target_share(targets, image, k, classes);
        if (row[k] > largest) largest = row[k], answer = k;
        if (target > target_largest) target_largest = target, wanted = k;
    }
    for (int k = 0; k < classes; k++) total += expf(row[k] - largest);
    const float log_total = logf(total), factor = (state ? state->loss_scale : 1) / batch;
    for (int k = 0; k < classes; k++) {
        const float target = smoothed(target_share(targets, image, k, classes), classes, smoothing);
        const float log_probability = row[k] - largest - log_total;
        loss -= target * log_probability;
        dlogits[(int64)image * classes + k] = factor * (expf(log_probability) - target);
    }
    losses[image] = loss;
    correct[image] = answer == wanted;
}

// Largest entry and its first place over a warp: of equal entries the first counts, as in NumPy.
__device__ inline void first_largest(float& value, int& place) {
    for (int offset = 16; offset; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, value, offset);
        const int other_place = __shfl_xor_sync(0xffffffffu, place, offset);
        if (other > value || (other == value && other_place < place)) value = other, place = other_place;
    }
}

// One warp per image, so that a row of a thousand classes is read by neighbours and not by one thread. The logits
// are few (B x K floats), so this kernel's time is its launch.
//
// block (32, images per block), grid (ceil(images / images per block))
template <class T>
__global__ void cross_entropy(
    const float* logits, const int64* labels, const int* indices, const float* soft, const int* partner_indices,
    const Mix* mix, const StepState* state, float* dlogits, float* losses, int* correct, int images, int batch,
    int classes, float smoothing) {
    const Targets targets = {labels, indices, soft, partner_indices, mix};
    const int image = blockIdx.x * blockDim.y + threadIdx.y;
    if (image >= images) return;  // whole warps leave
    const float* row = logits + (int64)image * classes;
    float largest = -LARGEST_FLOAT, target_largest = -LARGEST_FLOAT, total = 0, loss = 0;
    int answer = classes, wanted = classes;
    for (int k = threadIdx.x; k < classes; k += 32) {
        const float target = target_share(targets, image, k, classes);
        if (row[k] > largest) largest = row[k], answer = k;
        if (target > target_largest) target_largest = target, wanted = k;
    }
    first_largest(largest, answer);
    first_largest(target_largest, wanted);
    for (int k = threadIdx.x; k < classes; k += 32) total += expf(row[k] - largest);
    const float log_total = logf(sum_over_lanes<32>(total)), factor = (state ? state->loss_scale : 1) / batch;
    for (int k = threadIdx.x; k < classes; k += 32) {
        const float target = smoothed(target_share(targets, image, k, classes), classes, smoothing);
        const float log_probability = row[k] - largest - log_total;
        loss -= target * log_probability;
        dlogits[(int64)image * classes + k] = factor * (expf(log_probability) - target);
    }
    loss = sum_over_lanes<32>(loss);
    if (threadIdx.x == 0) {
        losses[image] = loss;
        correct[image] = answer == wanted;
    }
}
