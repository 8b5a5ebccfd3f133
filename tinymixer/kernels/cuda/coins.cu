// The coins of dropout and stochastic depth, thrown on the GPU and yet NumPy's own to the last one.
//
// A mask of dropout is as large as the hidden layer it thins out: 42 million coins for a step of nano at batch 128, which
// the host would throw for a tenth of a second and then send. So the host sends where NumPy's generator stands (PCG64,
// O'Neill 2014: a linear congruential generator of 128 bits and a permutation of its state), and each thread works out
// the coins it needs. A linear step repeated n times is one linear step again, found by squaring, so a thread starts
// anywhere in the sequence. No mask is kept: the backward pass throws the same coins again.
//
// NumPy makes a float32 of 32 bits, taking the lower half of an output and then its upper half; a coin is that float, and
// a value is kept where the coin is at least the rate (tinymixer/layers/layer.py).
#include "common.cuh"

typedef unsigned long long uint64;

struct Wide {  // 128 bits, without sign
    uint64 high, low;
};

__device__ inline Wide add(Wide a, Wide b) {
    const uint64 low = a.low + b.low;
    return {a.high + b.high + (low < a.low), low};
}

__device__ inline Wide multiply(Wide a, Wide b) {  // modulo 2^128
    return {a.high * b.low + a.low * b.high + __umul64hi(a.low, b.low), a.low * b.low};
}

struct Generator {  // as the host sends it
    Wide state, increment;
};

struct Steps {  // so many steps at once: state -> multiplier * state + increment
    Wide multiplier, increment;
    __device__ inline Wide from(Wide state) const { return add(multiply(multiplier, state), increment); }
};

__device__ inline Steps one_step(Wide increment) { return {{0x2360ed051fc65da4ull, 0x4385df649fccf645ull}, increment}; }

__device__ inline Steps after(Steps second, Steps first) {  // first, then second
    return {multiply(second.multiplier, first.multiplier), second.from(first.increment)};
}

__device__ inline Steps many_steps(uint64 count, Wide increment) {
    Steps total = {{0, 1}, {0, 0}};
    for (Steps power = one_step(increment); count; count >>= 1, power = after(power, power))
        if (count & 1) total = after(power, total);
    return total;
}

__device__ inline uint64 output(Wide state) {
    const uint64 mixed = state.high ^ state.low;
    const int turn = state.high >> 58;
    return mixed >> turn | mixed << (-turn & 63);
}

// Coin number n, from the state that gives output n / 2.
__device__ inline float coin(Wide state, uint64 number) {
    const uint64 bits = output(state);
    return (unsigned)((number & 1 ? bits >> 32 : bits & 0xffffffffull) >> 8) * (1.0f / 16777216.0f);
}

// ------------------------------------------------------------------------------------------ dropout

// One thread per value, which finds its place in the sequence by itself: some 30 steps of 128 bits for one coin.
template <class T>
__global__ void dropout_plain(T* values, const Generator* generator, int64 first, int64 size, float rate, float scale) {
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const Wide state = many_steps((first + i) / 2 + 1, generator->increment).from(generator->state);
    values[i] = from_float<T>(coin(state, first + i) >= rate ? to_float(values[i]) * scale : 0);
}

// Step 1: V neighbours a thread, whose coins are neighbours too: one step of the generator for every second one.
// Step 2: a grid that strides over the values, so that a thread looks for its place once; the way from one turn to the
//         next is the same for all of them, and a single wide multiplication.
//
//   values (size,), changed in place; value i has coin first + i; scale = 1 / (1 - rate)
//
// block (threads), an even number; grid (blocks)
template <class T, int V>
__global__ void dropout(T* values, const Generator* generator, int64 first, int64 size, float rate, float scale) {
    const Wide increment = generator->increment;
    const int64 start = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V, stride = (int64)gridDim.x * blockDim.x * V;
    if (start >= size) return;
    const Steps step = one_step(increment), turn = many_steps(stride / 2, increment);
    Wide here = many_steps((first + start) / 2 + 1, increment).from(generator->state);
    for (int64 i = start; i < size; i += stride, here = turn.from(here)) {
        float value[V];
        load<T, V>(value, values + i);
        Wide state = here;
#pragma unroll
        for (int v = 0; v < V; v++) {
            value[v] = coin(state, first + i + v) >= rate ? value[v] * scale : 0;
            if ((first + i + v) & 1) state = step.from(state);
        }
        store<T, V>(values + i, value);
    }
}

// ------------------------------------------------------------------------------------------ stochastic depth

// image_factor (branches, images): 0 where a branch is dropped for an image, else 1 / (1 - rate). A batch that is worked
// through in parts throws a branch's coins part by part: positions (branches, parts) are those of the first ones.
//
// block (threads), grid (ceil(branches * images / threads))
template <class T>
__global__ void branch_factors(
    const Generator* generator, const int64* positions, const float* rates, float* image_factor, int branches,
    int images, int parts) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= branches * images) return;
    const int branch = i / images, image = i % images, size = images / parts;
    const float rate = rates[branch];
    const uint64 number = positions[branch * parts + image / size] + image % size;
    const Wide state = many_steps(number / 2 + 1, generator->increment).from(generator->state);
    image_factor[i] = coin(state, number) >= rate ? 1 / (1 - rate) : 0;
}
