// LayerNorm with everything around it that would otherwise be a pass of its own.
//
// A Mixer is a stream x (S, B, C) to which branches are added, and a LayerNorm stands after every addition. So the
// addition (with the bias of the branch's last product, and stochastic depth's factor) happens on the way into the
// normalisation, and the backward pass adds the stream's own gradient on the way out and sums the branch bias's
// gradient while it has the numbers in registers. Counting passes over the stream (2 bytes an element in 16 bits):
//
//     forward    reads x and the branch, writes x and the normalised rows                      4 passes
//     backward   reads dn, x and the stream's gradient, writes the stream's gradient           4 passes
//
// Rows are (token, image), row = token * images + image. A row is C channels; `lanes` neighbouring threads (a power of
// two up to 32) share it, each holding K times V of its channels in registers, K = ceil(C / (lanes * V)). In the fast
// kernels' templates L is the number of lanes, which is also blockDim.x.
#include "common.cuh"

// What is added to the stream before it is normalised; also the description of what the backward pass must sum.
//   branch        (rows, C), null for none        bias    (C,) or, with by_token, (S,)
//   image_factor  (images,), null for all ones: 0 for a dropped branch, 1 / (1 - rate) for a kept one
template <class T> __device__ inline float branch_bias(const float* bias, int by_token, int token, int channel) {
    return bias ? bias[by_token ? token : channel] : 0;
}

// ------------------------------------------------------------------------------------------ plain

// One thread per row, three walks over it. Neighbouring threads read addresses C elements apart, so most of every
// 32-byte sector is thrown away. Written as array expressions (seven passes), LayerNorm reaches 0.44 TB/s of a copy's
// 2.95 (prototype, one H100, 2026-11-22).
template <class T>
__global__ void layer_norm_forward_plain(
    const T* x, const T* branch, const float* bias, const float* image_factor, const float* norm_scale,
    const float* norm_bias, T* sum, T* normed, float* mean, float* inv_std, int rows, int channels, int images,
    int by_token, float eps) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const int64 start = (int64)row * channels;
    const float factor = image_factor ? image_factor[row % images] : 1;
    float total = 0;
    for (int c = 0; c < channels; c++) {
        float value = x ? to_float(x[start + c]) : 0;
        if (branch) value += factor * (to_float(branch[start + c]) + branch_bias<T>(bias, by_token, row / images, c));
        if (branch) sum[start + c] = from_float<T>(value);
        total += rounded<T>(value);
    }
    const T* stream = branch ? sum : x;
    const float m = total / channels;
    float squares = 0;
    for (int c = 0; c < channels; c++) squares += (to_float(stream[start + c]) - m) * (to_float(stream[start + c]) - m);
    const float r = rsqrtf(squares / channels + eps);
    for (int c = 0; c < channels; c++)
        normed[start + c] = from_float<T>((to_float(stream[start + c]) - m) * r * norm_scale[c] + norm_bias[c]);
    mean[row] = m;
    inv_std[row] = r;
}

// Step 1: a warp shares a row, so that neighbours read neighbours and every sector is used whole. Three walks are left.
//
// block (32, rows per block), grid (ceil(rows / rows per block))
template <class T>
__global__ void layer_norm_forward_lanes(
    const T* x, const T* branch, const float* bias, const float* image_factor, const float* norm_scale,
    const float* norm_bias, T* sum, T* normed, float* mean, float* inv_std, int rows, int channels, int images,
    int by_token, float eps) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // whole warps leave
    const int64 start = (int64)row * channels;
    const float factor = image_factor ? image_factor[row % images] : 1;
    float total = 0;
    for (int c = threadIdx.x; c < channels; c += 32) {
        float value = x ? to_float(x[start + c]) : 0;
        if (branch) value += factor * (to_float(branch[start + c]) + branch_bias<T>(bias, by_token, row / images, c));
        if (branch) sum[start + c] = from_float<T>(value);
        total += rounded<T>(value);
    }
    const T* stream = branch ? sum : x;  // each lane reads again what it wrote itself
    const float m = sum_over_lanes<32>(total) / channels;
    float squares = 0;
    for (int c = threadIdx.x; c < channels; c += 32)
        squares += (to_float(stream[start + c]) - m) * (to_float(stream[start + c]) - m);
    const float r = rsqrtf(sum_over_lanes<32>(squares) / channels + eps);
    for (int c = threadIdx.x; c < channels; c += 32)
        normed[start + c] = from_float<T>((to_float(stream[start + c]) - m) * r * norm_scale[c] + norm_bias[c]);
    if (threadIdx.x == 0) {
        mean[row] = m;
        inv_std[row] = r;
    }
}

// One thread per row for dx (which may be the residual's own memory), one per channel for the sums.
template <class T>
__global__ void layer_norm_backward_plain(
    const T* dn, const T* x, const float* norm_scale, const float* mean, const float* inv_std, const T* residual, T* dx,
    int rows, int channels) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const int64 start = (int64)row * channels;
    float g_sum = 0, gx_sum = 0;
    for (int c = 0; c < channels; c++) {
        const float x_hat = (to_float(x[start + c]) - mean[row]) * inv_std[row];
        const float g = to_float(dn[start + c]) * norm_scale[c];
        g_sum += g;
        gx_sum += g * x_hat;
    }
    for (int c = 0; c < channels; c++) {
        const float x_hat = (to_float(x[start + c]) - mean[row]) * inv_std[row];
        const float g = to_float(dn[start + c]) * norm_scale[c];
        const float own = inv_std[row] * (g - g_sum / channels - x_hat * gx_sum / channels);
        dx[start + c] = from_float<T>(own + (residual ? to_float(residual[start + c]) : 0));
    }
}

template <class T>
__global__ void layer_norm_parameters_plain(
    const T* dn, const T* x, const float* mean, const float* inv_std, float* dscale, float* dbias, int rows,
    int channels) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    float scale_sum = 0, bias_sum = 0;
    for (int row = 0; row < rows; row++) {
        const float d = to_float(dn[(int64)row * channels + c]);
        scale_sum += d * (to_float(x[(int64)row * channels + c]) - mean[row]) * inv_std[row];
        bias_sum += d;
    }
    dscale[c] = scale_sum;
    dbias[c] = bias_sum;
}

// ------------------------------------------------------------------------------------------ shared by the fast ones

// Load the stream (x plus the branch) for this thread's channels; zeros beyond the row's end.
template <class T, int V, int K, int L>
__device__ inline void load_stream(
    float (&value)[K][V], const T* x, const T* branch, const float* bias, const float* image_factor, T* sum, int row,
    int channels, int images, int by_token, bool inside) {
    const int64 start = (int64)row * channels;
    const float factor = inside && image_factor ? image_factor[row % images] : 1;
    const float token_bias = inside && bias && by_token ? bias[row / images] : 0;
#pragma unroll
    for (int k = 0; k < K; k++) {
        const int c = (k * L + threadIdx.x) * V;
#pragma unroll
        for (int v = 0; v < V; v++) value[k][v] = 0;
        if (!inside || c >= channels) continue;
        if (x) load<T, V>(value[k], x + start + c);
        if (!branch) continue;
        float added[V], shift[V];
        load<T, V>(added, branch + start + c);
#pragma unroll
        for (int v = 0; v < V; v++) shift[v] = token_bias;
        if (bias && !by_token) load_floats<V>(shift, bias + c);
#pragma unroll
        for (int v = 0; v < V; v++)  // rounded: the statistics are those of what is stored
            value[k][v] = rounded<T>(value[k][v] + factor * (added[v] + shift[v]));
        store<T, V>(sum + start + c, value[k]);
    }
}

// Mean and 1 / sqrt(variance + eps) of a row that lies in registers. Two sums, the second of centred squares: the
// registers make the second look free, and sum(x^2) - mean^2 would lose the digits of a row far from zero.
template <int V, int K, int L>
__device__ inline void row_statistics(
    const float (&value)[K][V], int channels, float eps, float& mean, float& inv_std) {
    float total = 0;
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int v = 0; v < V; v++) total += value[k][v];
    mean = sum_over_lanes<L>(total) / channels;
    float squares = 0;
#pragma unroll
    for (int k = 0; k < K; k++) {
        if ((int)((k * L + threadIdx.x) * V) < channels) {
#pragma unroll
            for (int v = 0; v < V; v++) squares += (value[k][v] - mean) * (value[k][v] - mean);
        }
    }
    inv_std = rsqrtf(sum_over_lanes<L>(squares) / channels + eps);
}

// Add up what the block's groups hold for each channel, in the order of the groups. shared: blockDim.y * channels.
template <int V, int K, int L, class Write>
__device__ inline void over_groups(const float (&mine)[K][V], float* shared, int channels, Write write) {
    __syncthreads();  // the previous sums have been read
#pragma unroll
    for (int k = 0; k < K; k++) {
        const int c = (k * L + threadIdx.x) * V;
        if (c < channels) {
#pragma unroll
            for (int v = 0; v < V; v++) shared[threadIdx.y * channels + c + v] = mine[k][v];
        }
    }
    __syncthreads();
    for (int c = threadIdx.y * L + threadIdx.x; c < channels; c += L * blockDim.y) {
        float total = 0;
        for (int group = 0; group < (int)blockDim.y; group++) total += shared[group * channels + c];
        write(c, total);
    }
}

// ------------------------------------------------------------------------------------------ fast

// Step 2: 16 bytes per access, and the row stays in registers: one walk instead of three.
// Step 3: the residual, the branch's bias and stochastic depth come in on the same walk. The prototype's separate
//         residual + bias kernel took 130 of nano's 3,972 us and 1,086 of small/4's 32,997 us.
// Narrow rows (C = 128 in 16 bits is 16 lanes of 16 bytes) put several rows in one warp rather than idle lanes.
//
// block (lanes, groups), full warps; grid (ceil(rows / groups))
template <class T, int V, int K, int L>
__global__ void layer_norm_forward(
    const T* x, const T* branch, const float* bias, const float* image_factor, const float* norm_scale,
    const float* norm_bias, T* sum, T* normed, float* mean, float* inv_std, int rows, int channels, int images,
    int by_token, float eps) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    const bool inside = row < rows;  // lanes beyond the end stay, since a warp's sums need all 32
    float value[K][V], m, r;
    load_stream<T, V, K, L>(value, x, branch, bias, image_factor, sum, row, channels, images, by_token, inside);
    row_statistics<V, K, L>(value, channels, eps, m, r);
    if (!inside) return;
#pragma unroll
    for (int k = 0; k < K; k++) {
        const int c = (k * L + threadIdx.x) * V;
        if (c >= channels) continue;
        float scale[V], shift[V];
        load_floats<V>(scale, norm_scale + c);
        load_floats<V>(shift, norm_bias + c);
#pragma unroll
        for (int v = 0; v < V; v++) value[k][v] = (value[k][v] - m) * r * scale[v] + shift[v];
        store<T, V>(normed + (int64)row * channels + c, value[k]);
    }
    if (threadIdx.x == 0) {
        mean[row] = m;
        inv_std[row] = r;
    }
}

// The last LayerNorm and the mean over tokens in one: features (B, C) = scale * mean_s(x_hat) + bias. The normalised
// rows are never written, which saves two passes over the stream. A block takes one image, its groups the tokens.
//
// block (lanes, groups), full warps; grid (images); shared: groups * channels floats
template <class T, int V, int K, int L>
__global__ void layer_norm_mean_forward(
    const T* x, const T* branch, const float* bias, const float* image_factor, const float* norm_scale,
    const float* norm_bias, T* sum, float* features, float* mean, float* inv_std, int tokens, int channels, int images,
    int by_token, float eps) {
    extern __shared__ float shared[];
    const int image = blockIdx.x;
    float total[K][V] = {};
    for (int first = 0; first < tokens; first += blockDim.y) {
        const int token = first + threadIdx.y, row = token * images + image;
        const bool inside = token < tokens;
        float value[K][V], m, r;
        load_stream<T, V, K, L>(value, x, branch, bias, image_factor, sum, row, channels, images, by_token, inside);
        row_statistics<V, K, L>(value, channels, eps, m, r);
        if (!inside) continue;
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int v = 0; v < V; v++) total[k][v] += (value[k][v] - m) * r;
        if (threadIdx.x == 0) {
            mean[row] = m;
            inv_std[row] = r;
        }
    }
    over_groups<V, K, L>(total, shared, channels, [&](int c, float x_hat_sum) {
        features[(int64)image * channels + c] = norm_scale[c] * (x_hat_sum / tokens) + norm_bias[c];
    });
}

// A persistent grid: each group walks over rows with a stride and keeps dscale, dbias and the branch bias's gradient
// in registers, so that each of them costs one row of `partial` per block and not one addition per row.
//
//   dn         (rows, C), the gradient of the normalised rows; null where `dfeatures` (images, C) / tokens stands for
//              it, which is the mean over tokens run backwards without ever being spread out
//   residual   (rows, C) or null, the stream's own gradient, added to dx; dx may be the same memory
//   dbranch    (rows, C) or null, image_factor times dx: what reaches a branch that stochastic depth scaled
//   partial    (blocks, C) each: partial_scale, partial_bias, and partial_branch where the branch bias is per channel
//   row_sums   (rows,) where it is per token: the sum of a row; null otherwise
//
// The grid has as many blocks per multiprocessor as fit at once (`RowLayout.resident`): the blocks are equally long, so
// one more than fit would have to wait for all others and double the time. The bounds hold the compiler to it.
//
// block (lanes, groups), full warps, at most 256 threads; grid (row blocks); shared: groups * channels floats
template <class T, int V, int K, int L>
__global__ void __launch_bounds__(256, K * V <= 8 ? 3 : K * V <= 16 ? 2 : 1) layer_norm_backward(
    const T* dn, const float* dfeatures, const T* x, const float* norm_scale, const float* mean, const float* inv_std,
    const T* residual, const float* image_factor, T* dx, T* dbranch, float* partial_scale, float* partial_bias,
    float* partial_branch, float* row_sums, int rows, int channels, int images, int atomic) {
    extern __shared__ float shared[];
    const float per_token = (float)images / rows;
    float scale_sum[K][V] = {}, bias_sum[K][V] = {}, branch_sum[K][V] = {};
    for (int first = blockIdx.x * blockDim.y; first < rows; first += gridDim.x * blockDim.y) {
        const int row = first + threadIdx.y;
        const bool inside = row < rows;
        const int64 start = (int64)row * channels;
        const float m = inside ? mean[row] : 0, r = inside ? inv_std[row] : 0;
        float d[K][V], x_hat[K][V], g_total = 0, gx_total = 0;
        // The residual as it is stored: loaded before the sums, since its way from memory is long. In the longest rows
        // there are no registers left for it.
        constexpr bool EARLY = sizeof(Vector<T, V>) * K <= (sizeof(T) == 2 ? 32 : 16);
        Vector<T, V> old[EARLY ? K : 1];
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = (k * L + threadIdx.x) * V;
#pragma unroll
            for (int v = 0; v < V; v++) d[k][v] = x_hat[k][v] = 0;
            if (!inside || c >= channels) continue;
            float scale[V];
            if (EARLY && residual) old[EARLY ? k : 0] = *reinterpret_cast<const Vector<T, V>*>(residual + start + c);
            if (dn) load<T, V>(d[k], dn + start + c);
            else load_floats<V>(d[k], dfeatures + (int64)(row % images) * channels + c);
            load<T, V>(x_hat[k], x + start + c);
            load_floats<V>(scale, norm_scale + c);
#pragma unroll
            for (int v = 0; v < V; v++) {
                if (!dn) d[k][v] *= per_token;
                x_hat[k][v] = (x_hat[k][v] - m) * r;
                scale_sum[k][v] += d[k][v] * x_hat[k][v];
                bias_sum[k][v] += d[k][v];
                d[k][v] *= scale[v];  // from here on g, the gradient that reaches x_hat
                g_total += d[k][v];
                gx_total += d[k][v] * x_hat[k][v];
            }
        }
        const float g_mean = sum_over_lanes<L>(g_total) / channels;
        const float gx_mean = sum_over_lanes<L>(gx_total) / channels;
        const float factor = inside && image_factor ? image_factor[row % images] : 1;
        float row_total = 0;
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = (k * L + threadIdx.x) * V;
            if (!inside || c >= channels) continue;
            float out[V] = {};
            if (!EARLY && residual) load<T, V>(out, residual + start + c);
#pragma unroll
            for (int v = 0; v < V; v++) {
                if (EARLY && residual) out[v] = to_float(old[EARLY ? k : 0].at[v]);
                out[v] += r * (d[k][v] - g_mean - x_hat[k][v] * gx_mean);
            }
            store<T, V>(dx + start + c, out);
#pragma unroll
            for (int v = 0; v < V; v++) {
                out[v] = factor * rounded<T>(out[v]);
                branch_sum[k][v] += out[v];
                row_total += out[v];
            }
            if (dbranch) store<T, V>(dbranch + start + c, out);
        }
        if (row_sums) {
            row_total = sum_over_lanes<L>(row_total);
            if (inside && threadIdx.x == 0) row_sums[row] = row_total;
        }
    }
    over_groups<V, K, L>(scale_sum, shared, channels, [&](int c, float total) {
        add_partial(partial_scale, blockIdx.x, channels, c, total, atomic);
    });
    over_groups<V, K, L>(bias_sum, shared, channels, [&](int c, float total) {
        add_partial(partial_bias, blockIdx.x, channels, c, total, atomic);
    });
    if (partial_branch) {
        over_groups<V, K, L>(branch_sum, shared, channels, [&](int c, float total) {
            add_partial(partial_branch, blockIdx.x, channels, c, total, atomic);
        });
    }
}
