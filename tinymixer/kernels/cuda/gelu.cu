// Bias and GELU in one pass, and its backward pass with the gradient of the bias.
//
// The pre-activation z is a matrix product without its bias, rows x columns. Channel mixing adds one bias per column,
// token mixing (product from the left) one per row. A null bias means that z already has it, as when the product's
// own epilogue added it. Activations dominate a Mixer's memory traffic, so each kernel touches every element once:
//
//     forward   reads z, writes a                     4 bytes an element in 16 bits
//     backward  reads da and z, writes dz over da     6 bytes an element; the bias's gradient is a by-product
//
// The GELU is worked out again from z in the backward pass: storing its slope would cost two more bytes both ways.
#include "common.cuh"

// ------------------------------------------------------------------------------------------ plain

// One thread per element, one element per access, and a division to find the column. Measured on the prototype: such
// a kernel reaches 0.85 TB/s in float16 where a copy reaches 2.95 TB/s (one H100, 2026-11-22).
template <class T, class Gelu>
__global__ void bias_gelu_forward_plain(const T* z, const float* bias, T* a, int64 rows, int64 columns, int by_row) {
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * columns) return;
    const float b = bias ? bias[by_row ? i / columns : i % columns] : 0;
    a[i] = from_float<T>(Gelu::value(to_float(z[i]) + b));
}

// Step 1: V neighbours per access, so that a warp moves 512 bytes with one instruction. A division for V of them is left.
template <class T, int V, class Gelu>
__global__ void bias_gelu_forward_wide(const T* z, const float* bias, T* a, int64 rows, int64 columns, int by_row) {
    const int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (i >= rows * columns) return;
    const int64 row = i / columns, column = i - row * columns;  // columns is a multiple of V
    float value[V], b[V] = {};
    load<T, V>(value, z + i);
    if (bias && !by_row) load_floats<V>(b, bias + column);
#pragma unroll
    for (int v = 0; v < V; v++) value[v] = Gelu::value(value[v] + (bias && by_row ? bias[row] : b[v]));
    store<T, V>(a + i, value);
}

// One thread per entry of the bias walks down its column or along its row: right, and nearly serial.
template <class T, class Gelu>
__global__ void bias_gelu_backward_plain(
    T* da, const T* z, const float* bias, float* dbias, int64 rows, int64 columns, int by_row) {
    const int64 entry = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (entry >= (by_row ? rows : columns)) return;
    const float b = bias ? bias[entry] : 0;
    float sum = 0;
    for (int64 other = 0; other < (by_row ? columns : rows); other++) {
        const int64 i = by_row ? entry * columns + other : other * columns + entry;
        const float dz = to_float(da[i]) * Gelu::slope(to_float(z[i]) + b);
        da[i] = from_float<T>(dz);
        sum += dz;
    }
    dbias[entry] = sum;
}

// ------------------------------------------------------------------------------------------ fast: bias per column

// Step 2: a thread keeps its columns and walks over rows, so the bias is loaded once and nothing is divided.
// Step 3: the GELU of the working format: in 16 bits the hardware's tanh is one instruction.
//
// block (lanes over columns, groups over rows), grid (column blocks, row blocks)
template <class T, int V, class Gelu>
__global__ void bias_gelu_forward_columns(const T* z, const float* bias, T* a, int64 rows, int64 columns) {
    const int64 column = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (column >= columns) return;
    float b[V] = {};
    if (bias) load_floats<V>(b, bias + column);
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += (int64)gridDim.y * blockDim.y) {
        float value[V];
        load<T, V>(value, z + row * columns + column);
#pragma unroll
        for (int v = 0; v < V; v++) value[v] = Gelu::value(value[v] + b[v]);
        store<T, V>(a + row * columns + column, value);
    }
}

// Add up what the groups of a block hold for each of its columns, in the order of the groups, and write a row of
// `partial` (row blocks, columns). shared: blockDim.y * blockDim.x * V floats
template <int V>
__device__ inline void columns_over_groups(
    const float (&sum)[V], float* shared, float* partial, int64 columns, int atomic) {
    const int width = blockDim.x * V;
#pragma unroll
    for (int v = 0; v < V; v++) shared[threadIdx.y * width + threadIdx.x * V + v] = sum[v];
    __syncthreads();
    for (int c = threadIdx.y * blockDim.x + threadIdx.x; c < width; c += blockDim.x * blockDim.y) {
        const int64 target = (int64)blockIdx.x * width + c;
        float total = 0;
        for (int group = 0; group < (int)blockDim.y; group++) total += shared[group * width + c];
        if (target < columns) add_partial(partial, blockIdx.y, columns, target, total, atomic);
    }
}

// The same walk. Each thread adds up its columns in registers, the groups of a block meet in shared memory in a fixed
// order, and the block writes one row of `partial` (row blocks, columns). The prototype ended in one atomic addition
// per thread and column with few blocks at work: 1,516 of nano's 3,972 us.
//
// shared: blockDim.y * blockDim.x * V floats
template <class T, int V, class Gelu>
__global__ void bias_gelu_backward_columns(
    T* da, const T* z, const float* bias, float* partial, int64 rows, int64 columns, int atomic) {
    extern __shared__ float shared[];
    const int64 column = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V;
    float sum[V] = {};
    if (column < columns) {
        float b[V] = {};
        if (bias) load_floats<V>(b, bias + column);
        for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
             row += (int64)gridDim.y * blockDim.y) {
            const int64 i = row * columns + column;
            float d[V], value[V];
            load<T, V>(d, da + i);
            load<T, V>(value, z + i);
#pragma unroll
            for (int v = 0; v < V; v++) {
                d[v] *= Gelu::slope(value[v] + b[v]);
                sum[v] += d[v];
            }
            store<T, V>(da + i, d);
        }
    }
    columns_over_groups<V>(sum, shared, partial, columns, atomic);
}

// The sums alone: the gradient of the bias where the product's own epilogue has applied GELU's gradient. Layout and
// shared memory as above.
template <class T, int V>
__global__ void column_sums(const T* dz, float* partial, int64 rows, int64 columns, int atomic) {
    extern __shared__ float shared[];
    const int64 column = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V;
    float sum[V] = {};
    if (column < columns) {
        for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
             row += (int64)gridDim.y * blockDim.y) {
            float d[V];
            load<T, V>(d, dz + row * columns + column);
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] += d[v];
        }
    }
    columns_over_groups<V>(sum, shared, partial, columns, atomic);
}

// ------------------------------------------------------------------------------------------ fast: bias per row

// A block stays in one row, which therefore has one bias; its threads stride along the columns.
//
// block (threads), grid (chunks of columns, rows)
template <class T, int V, class Gelu>
__global__ void bias_gelu_forward_rows(const T* z, const float* bias, T* a, int64 columns) {
    const float b = bias ? bias[blockIdx.y] : 0;
    const int64 start = (int64)blockIdx.y * columns, stride = (int64)gridDim.x * blockDim.x * V;
    for (int64 column = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V; column < columns; column += stride) {
        float value[V];
        load<T, V>(value, z + start + column);
#pragma unroll
        for (int v = 0; v < V; v++) value[v] = Gelu::value(value[v] + b);
        store<T, V>(a + start + column, value);
    }
}

// The block's sum is one number, `partial` (chunks, rows). The threads are full warps; shared: 32 floats.
template <class T, int V, class Gelu>
__global__ void bias_gelu_backward_rows(
    T* da, const T* z, const float* bias, float* partial, int64 columns, int atomic) {
    extern __shared__ float shared[];
    const float b = bias ? bias[blockIdx.y] : 0;
    const int64 start = (int64)blockIdx.y * columns, stride = (int64)gridDim.x * blockDim.x * V;
    float sum = 0;
    for (int64 column = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V; column < columns; column += stride) {
        float d[V], value[V];
        load<T, V>(d, da + start + column);
        load<T, V>(value, z + start + column);
#pragma unroll
        for (int v = 0; v < V; v++) {
            d[v] *= Gelu::slope(value[v] + b);
            sum += d[v];
        }
        store<T, V>(da + start + column, d);
    }
    sum = sum_over_block(sum, shared);
    if (threadIdx.x == 0) add_partial(partial, blockIdx.x, gridDim.y, blockIdx.y, sum, atomic);
}
