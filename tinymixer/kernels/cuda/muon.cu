// Muon (tinymixer/optim/muon.py): matrices move by the orthogonal factor of their momentum.
//
// Its many small matrices are worked on together. Each is held wide, rows <= columns, a tall one turned over on the way in
// and back, so that matrices of one shape, or of that shape turned over, form a stack X (n, rows, columns) on which one
// batched product works. A Newton-Schulz step (tinymixer/optim/newton_schulz.py) is
//
//     G = X X^T,   Q = G G                      two products, per stack
//     P = a I + b G + c Q                       `muon_polynomial`, all stacks in one launch
//     X = P X                                   a product, per stack
//
// X, G and P are in the working format, Q and all sums in float. With M weights in matrices, `muon_momentum` moves 3 M
// floats and `muon_begin` and `muon_update` 2 M floats each and X: as much as one of AdamW's updates.
#include "common.cuh"

struct Matrix {
    int64 at;          // where it begins in the flat vectors
    int64 in_stacks;   // where its wide form begins in X
    int64 in_squares;  // where its (rows, rows) matrices begin in G, Q and P
    int rows, columns; // of the wide form
    int tall;          // 1: the flat vectors hold it as (columns, rows)
    float rate_factor; // multiplies the step's learning rate
    float decay;       // strength of the weight decay
    float scale;       // what the direction is multiplied by, besides the learning rate
};

// velocity = momentum velocity + gradient, and the squares of gradient + momentum velocity (Nesterov) summed per block.
//
// block (threads), grid (blocks of a matrix, matrices), as for all kernels here; squares (matrices, blocks); shared: 32
// floats; full warps
template <class T>
__global__ void muon_momentum(
    const StepState* state, const Matrix* matrices, float* velocity, const float* gradients, float* squares,
    float momentum) {
    extern __shared__ float shared[];
    if (state->skip) return;  // whole blocks leave
    const Matrix matrix = matrices[blockIdx.y];
    const int size = matrix.rows * matrix.columns;
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        const float g = gradients[matrix.at + i] * state->gradient_factor;
        const float v = momentum * velocity[matrix.at + i] + g;
        const float ahead = g + momentum * v;
        velocity[matrix.at + i] = v;
        sum += ahead * ahead;
    }
    sum = sum_over_block(sum, shared);
    if (threadIdx.x == 0) squares[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// X = (gradient + momentum velocity) / its norm. What is looked ahead is computed again instead of kept: as many bytes.
template <class T>
__global__ void muon_begin(
    const StepState* state, const Matrix* matrices, const float* velocity, const float* gradients,
    const float* squares, T* stacks, float momentum) {
    if (state->skip) return;
    const Matrix matrix = matrices[blockIdx.y];
    const int size = matrix.rows * matrix.columns;
    float total = 0;
    for (int block = 0; block < (int)gridDim.x; block++) total += squares[blockIdx.y * gridDim.x + block];
    const float norm = sqrtf(total) + 1e-20f;  // finite quotients for a matrix of zeros, too
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        const int row = i / matrix.columns, column = i - row * matrix.columns;
        const int64 at = matrix.at + (matrix.tall ? column * matrix.rows + row : i);
        const float ahead = gradients[at] * state->gradient_factor + momentum * velocity[at];
        stacks[matrix.in_stacks + i] = from_float<T>(ahead / norm);
    }
}

// P = a I + b G + c Q.
template <class T>
__global__ void muon_polynomial(const Matrix* matrices, const T* gram, const float* square, T* polynomial, float a,
                                float b, float c) {
    const Matrix matrix = matrices[blockIdx.y];
    const int size = matrix.rows * matrix.rows;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        const int64 at = matrix.in_squares + i;
        const float diagonal = i % (matrix.rows + 1) == 0 ? a : 0;
        polynomial[at] = from_float<T>(diagonal + b * to_float(gram[at]) + c * square[at]);
    }
}

// w = (1 - rate decay) w - rate scale X, and the working copy (null where products read the weights themselves).
template <class T>
__global__ void muon_update(
    const StepState* state, const Matrix* matrices, float* values, const T* stacks, T* working) {
    if (state->skip) return;
    const Matrix matrix = matrices[blockIdx.y];
    const int size = matrix.rows * matrix.columns;
    const float rate = state->learning_rate * matrix.rate_factor;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        const int in_wide = matrix.tall ? i % matrix.rows * matrix.columns + i / matrix.rows : i;
        const float direction = to_float(stacks[matrix.in_stacks + in_wide]);
        const float w = (1 - rate * matrix.decay) * values[matrix.at + i] - rate * matrix.scale * direction;
        values[matrix.at + i] = w;
        if (working) working[matrix.at + i] = from_float<T>(w);
    }
}
