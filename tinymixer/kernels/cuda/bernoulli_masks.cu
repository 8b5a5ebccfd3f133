// The Bernoulli masks of dropout and stochastic depth, drawn on the GPU: the same as on the host, bit for bit.
//
// A mask of dropout is as large as the hidden layer it thins out, so none is kept or sent: each thread draws the bits of
// its values from Philox4x32-10 (tinymixer/philox.py), and the backward pass draws the same again. Which bits belong to
// which value, and from which place, image and step they come, is defined in tinymixer/draws.py.
#include "common.cuh"

struct Key {  // as the host sends it
    unsigned key[2], step, unused;
};

struct Words {
    unsigned word[4];
    // Half h of 8: 16 bits, the lower half of a word before the upper.
    __device__ inline unsigned half(int h) const { return word[h / 2] >> (16 * (h & 1)) & 0xffff; }
};

__device__ inline Words philox(Key key, unsigned block, unsigned image, unsigned place) {
    unsigned c0 = block, c1 = image, c2 = place, c3 = key.step, k0 = key.key[0], k1 = key.key[1];
#pragma unroll
    for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
        const unsigned long long product0 = 0xd2511f53ull * c0, product1 = 0xcd9e8d57ull * c2;
        c0 = (unsigned)(product1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned)product1;
        c2 = (unsigned)(product0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned)product0;
    }
    return {{c0, c1, c2, c3}};
}

// V neighbours of a hidden layer (rows, images, columns) a thread, in a grid that strides over the values. V divides 8
// and the columns, so that the neighbours are one image's and share a block of Philox.
//
//   values (size,), changed in place; first_image is the position of their first image in the whole batch
//   a value is kept where its half is below `limit`; scale = 1 / (1 - rate)
//
// block (threads), grid (blocks)
template <class T, int V>
__global__ void dropout(
    T* values, const Key* key, unsigned place, int first_image, int images, int columns, int64 size, unsigned limit,
    float scale) {
    const int64 stride = (int64)gridDim.x * blockDim.x * V;
    for (int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V; i < size; i += stride) {
        const int64 line = i / columns, element = line / images * columns + i % columns;
        const Words words = philox(*key, element / 8, first_image + line % images, place);
        float value[V];
        load<T, V>(value, values + i);
#pragma unroll
        for (int v = 0; v < V; v++) value[v] = words.half((element + v) % 8) < limit ? value[v] * scale : 0;
        store<T, V>(values + i, value);
    }
}

// image_factor (branches, images): 0 where a branch is dropped for an image of the batch, else 1 / (1 - rate).
//
// block (threads), grid (ceil(branches * images / threads))
template <class T>
__global__ void branch_factors(
    const Key* key, const unsigned* places, const unsigned* limits, const float* rates, float* image_factor,
    int branches, int images) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= branches * images) return;
    const int branch = i / images;
    const bool kept = philox(*key, 0, i % images, places[branch]).half(0) < limits[branch];
    image_factor[i] = kept ? 1 / (1 - rates[branch]) : 0;
}
