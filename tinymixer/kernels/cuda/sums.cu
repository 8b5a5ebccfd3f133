// The second pass of every sum over rows: one launch adds up all partial sums of a backward pass.
#include "common.cuh"

// One sum to finish: `columns` results, each over `parts` numbers that lie `part_stride` apart.
//   result[column] (+)= sum_part partials[start + part * part_stride + column * column_stride]
struct Sum {
    int64 start, part_stride, column_stride, parts, columns, target;
};

// One thread per result.
template <class T>
__global__ void finish_sums_plain(const float* partials, const Sum* sums, float* results, int count, int add) {
    for (int s = 0; s < count; s++) {
        const Sum sum = sums[s];
        for (int64 column = blockIdx.x * blockDim.x + threadIdx.x; column < sum.columns;
             column += (int64)gridDim.x * blockDim.x) {
            float total = 0;
            for (int64 part = 0; part < sum.parts; part++)
                total += partials[sum.start + part * sum.part_stride + column * sum.column_stride];
            results[sum.target + column] = (add ? results[sum.target + column] : 0) + total;
        }
    }
}

// A block takes 32 columns of one sum and eight parts at a time: neighbouring threads read neighbouring columns. A
// step of nano has some 50 such sums; finishing each in a launch of its own would cost more in launches than in bytes.
// `blocks` lists which sum and which first column each block has.
//
// block (32, 8), grid (blocks); shared: 8 * 33 floats, 33 so that a column of the tile touches all banks
template <class T>
__global__ void finish_sums(const float* partials, const Sum* sums, const int* blocks, float* results, int add) {
    extern __shared__ float shared[];
    const Sum sum = sums[blocks[2 * blockIdx.x]];
    const int64 column = blocks[2 * blockIdx.x + 1] + threadIdx.x;
    float total = 0;
    if (column < sum.columns) {
        for (int64 part = threadIdx.y; part < sum.parts; part += 8)
            total += partials[sum.start + part * sum.part_stride + column * sum.column_stride];
    }
    shared[threadIdx.y * 33 + threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y == 0 && column < sum.columns) {
        total = 0;
        for (int group = 0; group < 8; group++) total += shared[group * 33 + threadIdx.x];
        results[sum.target + column] = (add ? results[sum.target + column] : 0) + total;
    }
}

// Every row of `out` (rows, columns) becomes `row` (columns,): a bias laid down before a product is added to it.
template <class T>
__global__ void fill_rows(float* out, const float* row, int64 size, int64 columns) {
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) out[i] = row[i % columns];
}
