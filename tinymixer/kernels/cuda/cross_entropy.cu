// Softmax and cross-entropy, forward and backward at once, with the loss and the count of correct answers.
#include "common.cuh"

// The target's probability of class k: a label, or a row of probabilities, mixed with the uniform distribution.
__device__ inline float target_probability(
    const int64* labels, const int* indices, const float* soft, int image, int k, int classes, float smoothing) {
    const float hard = soft ? soft[(int64)image * classes + k]
                            : (float)(labels[indices ? indices[image] : image] == k);
    return (1 - smoothing) * hard + smoothing / classes;
}

// One thread per image.
//
//   logits (B, K); labels (N,) with indices (B,) into them, or (B,) with null indices; or soft (B, K)
//   gradient_factor   null for 1; else a device value, the loss scale
//   batch             images that the loss is the mean over: B, or more where these are a part of a batch
//   dlogits (B, K) = factor * (softmax - target) / batch; losses (B,); correct (B,) 0 or 1
template <class T>
__global__ void cross_entropy_plain(
    const float* logits, const int64* labels, const int* indices, const float* soft, const StepState* state,
    float* dlogits, float* losses, int* correct, int images, int batch, int classes, float smoothing) {
    const int image = blockIdx.x * blockDim.x + threadIdx.x;
    if (image >= images) return;
    const float* row = logits + (int64)image * classes;
    float largest = row[0], total = 0, loss = 0, target_largest = -1;
    int answer = 0, wanted = 0;
    for (int k = 0; k < classes; k++) {
        const float target = target_probability(labels, indices, soft, image, k, classes, smoothing);
        if (row[k] > largest) largest = row[k], answer = k;
        if (target > target_largest) target_largest = target, wanted = k;
    }
    for (int k = 0; k < classes; k++) total += expf(row[k] - largest);
    const float log_total = logf(total), factor = (state ? state->loss_scale : 1) / batch;
    for (int k = 0; k < classes; k++) {
        const float target = target_probability(labels, indices, soft, image, k, classes, smoothing);
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
    const float* logits, const int64* labels, const int* indices, const float* soft, const StepState* state,
    float* dlogits, float* losses, int* correct, int images, int batch, int classes, float smoothing) {
    const int image = blockIdx.x * blockDim.y + threadIdx.y;
    if (image >= images) return;  // whole warps leave
    const float* row = logits + (int64)image * classes;
    float largest = -LARGEST_FLOAT, target_largest = -LARGEST_FLOAT, total = 0, loss = 0;
    int answer = classes, wanted = classes;
    for (int k = threadIdx.x; k < classes; k += 32) {
        const float target = target_probability(labels, indices, soft, image, k, classes, smoothing);
        if (row[k] > largest) largest = row[k], answer = k;
        if (target > target_largest) target_largest = target, wanted = k;
    }
    first_largest(largest, answer);
    first_largest(target_largest, wanted);
    for (int k = threadIdx.x; k < classes; k += 32) total += expf(row[k] - largest);
    const float log_total = logf(sum_over_lanes<32>(total)), factor = (state ? state->loss_scale : 1) / batch;
    for (int k = threadIdx.x; k < classes; k += 32) {
        const float target = target_probability(labels, indices, soft, image, k, classes, smoothing);
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
