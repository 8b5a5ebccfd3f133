// The update of all weights, and what decides about it, without the host ever being asked.
//
// Three launches: squares of the gradients per block; one block that finishes the norm and settles clipping, loss
// scaling and the counters; one pass that updates weights, optimizer state and the working copy of the weights.
#include "common.cuh"

// How weights are updated: frozen ones not at all, matrices of Muon by muon.cu. Parameters start at multiples of 16
// elements, so one number for each 16 weights says which setting they have; a model has a handful
// (tinymixer/engines/cuda/update_settings.py).
enum Rule { FROZEN, ELEMENTWISE, MATRIX };

struct Setting {
    float rate_factor;  // multiplies the step's learning rate
    float decay;        // strength of the weight decay, 0 for none
    int rule;
};

__device__ inline Setting setting_at(const unsigned short* setting_of, const Setting* settings, int64 i) {
    return settings[setting_of[i / 16]];
}

// Sum of squares of a block's share of the gradients, frozen parameters left out, in a fixed order. shared: 32 floats; full warps.
template <class T>
__global__ void gradient_squares(
    const float* gradients, const unsigned short* setting_of, const Setting* settings, float* partial, int64 size) {
    extern __shared__ float shared[];
    float sum = 0;
    const int64 stride = (int64)gridDim.x * blockDim.x * 4;
    for (int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < size; i += stride) {
        if (setting_at(setting_of, settings, i).rule == FROZEN) continue;
        float g[4];
        load_floats<4>(g, gradients + i);  // the flat vector's size is a multiple of 16
        sum += g[0] * g[0] + g[1] * g[1] + g[2] * g[2] + g[3] * g[3];
    }
    sum = sum_over_block(sum, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block. Finishes the norm and the loss, writes both into the history, and settles this step's update:
//
//   a loss that is not finite, or a gradient that is not while no loss scale could mend it: the run has failed; this
//       and every later update is skipped, so the weights stay as they were, and the host finds `failed_step`
//   a gradient that is not finite under a loss scale: the update is skipped and the scale halved
//   otherwise: gradients are unscaled and clipped by one factor (tinymixer/optim/clipping.py), and after
//       `growth_interval` such steps the scale doubles; after every `average_every`-th (0: never) the averaged weights
//       are due, and move to the present ones by max(forgotten, rise / (n + rise)) of the way, the n-th time
//       (tinymixer/optim/averaging.py)
//
// losses, correct (images,): from cross_entropy. history (slots, 2): loss and norm of each step. full warps; shared: 32
template <class T>
__global__ void settle_step(
    StepState* state, const float* squares, int square_count, const float* losses, const int* correct, int images,
    float* history, int slots, float clip_norm, int scaled, int growth_interval, float beta1, float beta2,
    int average_every, float forgotten, float rise) {
    extern __shared__ float shared[];
    float square = 0, loss = 0, right = 0;
    for (int i = threadIdx.x; i < square_count; i += blockDim.x) square += squares[i];
    for (int i = threadIdx.x; i < images; i += blockDim.x) loss += losses[i], right += correct[i];
    square = sum_over_block(square, shared);
    loss = sum_over_block(loss, shared) / images;
    right = sum_over_block(right, shared);
    if (threadIdx.x != 0) return;

    const float norm = sqrtf(square) / state->loss_scale;
    const bool loss_is_finite = is_finite(loss), gradient_is_finite = is_finite(square);
    float* slot = history + state->step % slots * 2;
    slot[0] = loss;
    slot[1] = norm;
    state->step += 1;
    state->loss = loss;
    state->gradient_norm = norm;
    state->loss_sum += (double)loss * images;
    state->correct += (int64)right;
    state->images += images;

    const bool mendable = scaled && loss_is_finite && state->loss_scale > 1e-4f;
    if (!(loss_is_finite && gradient_is_finite) && !mendable && !state->failed_step) state->failed_step = state->step;
    state->skip = state->failed_step || !gradient_is_finite;
    state->gradient_factor = (clip_norm > 0 ? fminf(1, clip_norm / (norm + 1e-6f)) : 1) / state->loss_scale;
    state->average_due = 0;
    if (state->skip) {
        state->skipped += 1;
        state->good_steps = 0;
        if (scaled) state->loss_scale *= 0.5f;
        return;
    }
    state->updates += 1;
    state->mean_correction = (float)(1 - pow((double)beta1, (double)state->updates));
    state->square_correction = (float)(1 - pow((double)beta2, (double)state->updates));
    state->good_steps += 1;
    if (scaled && state->good_steps == growth_interval) {
        state->loss_scale *= 2;
        state->good_steps = 0;
    }
    if (average_every && state->updates % average_every == 0) {
        state->averaged += 1;
        state->average_due = 1;
        state->average_share = fmaxf(forgotten, (float)(rise / ((double)state->averaged + rise)));
    }
}

// The averaged weights (Polyak and Juditsky 1992), in the steps that they are due. size is a multiple of 4.
template <class T>
__global__ void average_weights(const StepState* state, float* average, const float* values, int64 size) {
    const int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= size || state->skip || !state->average_due) return;
    float a[4], w[4];
    load_floats<4>(a, average + i);
    load_floats<4>(w, values + i);
#pragma unroll
    for (int v = 0; v < 4; v++) a[v] += state->average_share * (w[v] - a[v]);
    store<float, 4>(average + i, a);
}

// The working copy of freshly loaded weights; afterwards the updates keep it. size is a multiple of 4.
template <class T>
__global__ void copy_weights(const float* values, T* working, int64 size) {
    const int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= size) return;
    float w[4];
    load_floats<4>(w, values + i);
    store<T, 4>(working + i, w);
}

// ------------------------------------------------------------------------------------------ update rules

// working is null where the working format is float and products read the weights themselves. A step moves 5 vectors of
// floats for SGD and 7 for AdamW, and half a vector more in 16 bits: memory alone counts.

// Momentum, Nesterov's by choice; decay inside the gradient or, decoupled, beside it (tinymixer/optim/sgd.py).
struct Sgd {
    float rate, factor, momentum;
    int nesterov, decoupled;
    __device__ inline void operator()(float& w, float& m, float g, float decay) const {
        g *= factor;
        if (decoupled) w -= rate * (decay * w);
        else g += decay * w;
        m = momentum * m + g;
        w -= rate * (nesterov ? g + momentum * m : m);
    }
};

// Adam with decoupled decay (tinymixer/optim/adamw.py). The corrections come from the state: they change every step.
struct AdamW {
    float rate, factor, beta1, beta2, eps, mean_correction, square_correction;
    __device__ inline void operator()(float& w, float& m, float& s, float g, float decay) const {
        g *= factor;
        m += (1 - beta1) * (g - m);
        s += (1 - beta2) * (g * g - s);
        w -= rate * (decay * w);
        w -= rate * (m / mean_correction) / (sqrtf(s / square_correction) + eps);
    }
};

// One thread per weight, four bytes an access.
template <class T>
__global__ void sgd_update_plain(
    const StepState* state, float* values, float* velocity, const float* gradients,
    const unsigned short* setting_of, const Setting* settings, T* working, float momentum,
    int nesterov, int decoupled, int64 size) {
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size || state->skip) return;
    const Setting setting = setting_at(setting_of, settings, i);
    if (setting.rule != ELEMENTWISE) return;
    const float rate = state->learning_rate * setting.rate_factor;
    const Sgd rule = {rate, state->gradient_factor, momentum, nesterov, decoupled};
    rule(values[i], velocity[i], gradients[i], setting.decay);
    if (working) working[i] = from_float<T>(values[i]);
}

template <class T>
__global__ void adamw_update_plain(
    const StepState* state, float* values, float* mean, float* square, const float* gradients,
    const unsigned short* setting_of, const Setting* settings, T* working, float beta1,
    float beta2, float eps, int64 size) {
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size || state->skip) return;
    const Setting setting = setting_at(setting_of, settings, i);
    if (setting.rule != ELEMENTWISE) return;
    const float rate = state->learning_rate * setting.rate_factor;
    const AdamW rule = {rate, state->gradient_factor, beta1, beta2, eps, state->mean_correction,
                        state->square_correction};
    rule(values[i], mean[i], square[i], gradients[i], setting.decay);
    if (working) working[i] = from_float<T>(values[i]);
}

// Step 1: four neighbouring weights per thread: vectors of 16 bytes, and one store of the working copy.
template <class T>
__global__ void sgd_update(
    const StepState* state, float* values, float* velocity, const float* gradients,
    const unsigned short* setting_of, const Setting* settings, T* working, float momentum,
    int nesterov, int decoupled, int64 size) {
    const int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= size || state->skip) return;
    const Setting setting = setting_at(setting_of, settings, i);
    if (setting.rule != ELEMENTWISE) return;
    const float rate = state->learning_rate * setting.rate_factor;
    const Sgd rule = {rate, state->gradient_factor, momentum, nesterov, decoupled};
    float w[4], m[4], g[4];
    load_floats<4>(w, values + i);
    load_floats<4>(m, velocity + i);
    load_floats<4>(g, gradients + i);
#pragma unroll
    for (int v = 0; v < 4; v++) rule(w[v], m[v], g[v], setting.decay);
    store<float, 4>(values + i, w);
    store<float, 4>(velocity + i, m);
    if (working) store<T, 4>(working + i, w);
}

template <class T>
__global__ void adamw_update(
    const StepState* state, float* values, float* mean, float* square, const float* gradients,
    const unsigned short* setting_of, const Setting* settings, T* working, float beta1,
    float beta2, float eps, int64 size) {
    const int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= size || state->skip) return;
    const Setting setting = setting_at(setting_of, settings, i);
    if (setting.rule != ELEMENTWISE) return;
    const float rate = state->learning_rate * setting.rate_factor;
    const AdamW rule = {rate, state->gradient_factor, beta1, beta2, eps, state->mean_correction,
                        state->square_correction};
    float w[4], m[4], s[4], g[4];
    load_floats<4>(w, values + i);
    load_floats<4>(m, mean + i);
    load_floats<4>(s, square + i);
    load_floats<4>(g, gradients + i);
#pragma unroll
    for (int v = 0; v < 4; v++) rule(w[v], m[v], s[v], g[v], setting.decay);
    store<float, 4>(values + i, w);
    store<float, 4>(mean + i, m);
    store<float, 4>(square + i, s);
    if (working) store<T, 4>(working + i, w);
}
