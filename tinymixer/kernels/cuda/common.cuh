// What every kernel shares: number formats, wide loads, sums over a few lanes, GELU, and the state of a step.
//
// Words: T is the working format of activations (float, __half, __nv_bfloat16); sums, statistics, biases, LayerNorm's
// scale and all gradients of parameters are float. V is how many elements a thread moves at once: 16 bytes' worth where
// the length of a row allows it, otherwise 1 (`tinymixer/kernels/launch.py` decides). A kernel whose name ends in
// _plain is the first thing one would write; the fast one beside it says what each step away from it gains.
#pragma once

#ifndef TINYMIXER_EMULATED  // tests/kernels/emulator.hpp compiles these files for the CPU and brings its own
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

typedef long long int64;

// ---------------------------------------------------------------------------------------------- number formats

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T> __device__ inline T from_float(float value);
template <> __device__ inline float from_float<float>(float value) { return value; }
template <> __device__ inline __half from_float<__half>(float value) { return __float2half_rn(value); }
template <> __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float value) { return __float2bfloat16_rn(value); }

template <class T> __device__ inline float rounded(float value) { return to_float(from_float<T>(value)); }

// NVRTC has neither INFINITY nor, on every version, isfinite.
constexpr float LARGEST_FLOAT = 3.402823466e38f;
__device__ inline bool is_finite(float value) { return fabsf(value) <= LARGEST_FLOAT; }  // false for NaN too

// ---------------------------------------------------------------------------------------------- wide accesses

// One load or store instruction for V neighbours. The address must be a multiple of the struct's size.
template <class T, int V> struct alignas(sizeof(T) * V) Vector { T at[V]; };

template <class T, int V> __device__ inline void load(float (&to)[V], const T* from) {
    const Vector<T, V> packed = *reinterpret_cast<const Vector<T, V>*>(from);
#pragma unroll
    for (int v = 0; v < V; v++) to[v] = to_float(packed.at[v]);
}

template <class T, int V> __device__ inline void store(T* to, const float (&from)[V]) {
    Vector<T, V> packed;
#pragma unroll
    for (int v = 0; v < V; v++) packed.at[v] = from_float<T>(from[v]);
    *reinterpret_cast<Vector<T, V>*>(to) = packed;
}

// Floats come four to 16 bytes: V of them are loaded in pieces of at most four.
template <int V> __device__ inline void load_floats(float (&to)[V], const float* from) {
    constexpr int W = V < 4 ? V : 4;
#pragma unroll
    for (int v = 0; v < V; v += W) {
        const Vector<float, W> packed = *reinterpret_cast<const Vector<float, W>*>(from + v);
#pragma unroll
        for (int w = 0; w < W; w++) to[v + w] = packed.at[w];
    }
}

// ---------------------------------------------------------------------------------------------- sums

// Sum over L neighbouring threads, a power of two up to 32; every one of them gets the result. All 32 lanes of the warp
// must take part. The order of the additions is fixed, so two runs agree to the last bit. The compiler knows L, so that
// it writes the exchanges one after the other without a loop around them.
template <int L> __device__ inline float sum_over_lanes(float value) {
#pragma unroll
    for (int offset = L / 2; offset; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

// Sum over a block of blockDim.x threads (one dimension, full warps) through shared memory of 32 floats.
__device__ inline float sum_over_block(float value, float* shared) {
    value = sum_over_lanes<32>(value);
    __syncthreads();  // the shared floats may still be in use
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    float total = 0;
    for (int warp = 0; warp < (int)blockDim.x / 32; warp++) total += shared[warp];
    return total;
}

// A sum over rows is finished in two passes: each block writes its own row of `partial`, and `finish_sums` (sums.cu)
// adds the rows up in a fixed order. With `atomic` all blocks add to one row instead, in whatever order they end: less
// memory, one result per run.
__device__ inline void add_partial(float* partial, int64 block, int64 columns, int64 column, float value, int atomic) {
    if (atomic) atomicAdd(partial + column, value);
    else partial[block * columns + column] = value;
}

// ---------------------------------------------------------------------------------------------- GELU

// The tanh form (tinymixer/ops/gelu.py): u = sqrt(2 / pi) (x + 0.044715 x^3), value = x / 2 (1 + tanh u).
struct TanhGelu {
    static __device__ inline float tangent(float u) { return tanhf(u); }
    static __device__ inline float value(float x) { return with_tangent_value(x, tangent(argument(x))); }
    static __device__ inline float slope(float x) { return with_tangent_slope(x, tangent(argument(x))); }

    static __device__ inline float argument(float x) { return 0.7978845608028654f * (x + 0.044715f * x * x * x); }
    static __device__ inline float with_tangent_value(float x, float t) { return 0.5f * x * (1 + t); }
    static __device__ inline float with_tangent_slope(float x, float t) {
        const float du_dx = 0.7978845608028654f * (1 + 3 * 0.044715f * x * x);
        return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * du_dx;
    }
};

// The same through the hardware's tanh, right to about 2^-11 and one instruction: as good as 16 bits can tell.
struct FastTanhGelu {
    static __device__ inline float tangent(float u) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
        float t;
        asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(u));
        return t;
#else
        return tanhf(u);
#endif
    }
    static __device__ inline float value(float x) {
        return TanhGelu::with_tangent_value(x, tangent(TanhGelu::argument(x)));
    }
    static __device__ inline float slope(float x) {
        return TanhGelu::with_tangent_slope(x, tangent(TanhGelu::argument(x)));
    }
};

// The exact form: value = x Phi(x), slope = Phi(x) + x phi(x).
struct ErfGelu {
    static __device__ inline float value(float x) { return 0.5f * x * (1 + erff(0.7071067811865476f * x)); }
    static __device__ inline float slope(float x) {
        return 0.5f * (1 + erff(0.7071067811865476f * x)) + x * 0.3989422804014327f * expf(-0.5f * x * x);
    }
};

// ---------------------------------------------------------------------------------------------- the state of a step

// What a recorded step must not have baked in lives on the device. `tinymixer/engines/cuda/step_state.py` names the same
// fields in the same order.
struct StepState {
    int64 step;               // steps begun since the run's start or resumption: picks the slot of staged numbers
    int64 updates;            // updates made, which AdamW's corrections count
    int64 good_steps;         // updates since the loss scale last changed
    int64 correct;            // images classified correctly since the run's start or resumption
    int64 images;             // images seen since then
    int64 skipped;            // steps whose update was left out because a gradient overflowed
    int64 failed_step;        // 1 + the first step with a loss or gradient that cannot be mended, else 0
    int64 averaged;           // updates of the averaged weights
    double loss_sum;          // sum over images of the loss since then
    float loss_scale;         // what the loss is multiplied by before the backward pass (float16)
    float loss;               // of this step, mean over the batch
    float gradient_norm;      // of this step, before clipping, unscaled
    float gradient_factor;    // what the update multiplies gradients by: 1 / loss_scale, and the clipping
    float learning_rate;      // of this step
    float mean_correction;    // AdamW: 1 - beta1^t
    float square_correction;  // AdamW: 1 - beta2^t
    float average_share;      // how far the averaged weights move to the present ones, of the way
    int skip;                 // 1: leave weights and optimizer state alone
    int average_due;          // 1: this step updates the averaged weights
};

// How the images of a step are mixed, all of them alike (tinymixer/data/transforms/mixing.py; MIX in
// tinymixer/engines/cuda/image_records.py names the same fields in the same order).
struct Mix {
    int shift;                      // an image's partner stands so many rows further on, counted around; 0: itself
    int top, bottom, left, right;   // CutMix: the box of the partner's pixels; else empty
    float own, partner;             // shares of both in all other pixels
    float target_own, target_partner;  // and in the target
};
