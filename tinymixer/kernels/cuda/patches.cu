// From the data set, resident on the GPU as uint8, to normalised patches of an augmented batch.
//
// The host draws what happens to each image (tinymixer/data/augmentation.py) and sends six numbers per image; the
// batch itself never crosses the bus. Order: crop out of the image padded by reflection, mirror, blank out a box, normalise;
// then windows around the patches, whose pixels beyond the border are reflected (tinymixer/ops/windows.py).
#include "common.cuh"

struct Choice {
    int index;        // which image of the data set
    int top, left;    // corner of the crop in the padded image
    int flip;         // 1: mirrored left to right
    int box_top, box_left;
};

struct Images {
    int size;      // height and width
    int channels;  // colours
    int patch;     // P
    int padding;   // reflected pixels a side
    int cutout_box;      // side of cutout's box, 0 for none
};

// Index of a pixel outside the image, reflected at the border pixel's middle as numpy.pad(mode="reflect") does.
__device__ inline int reflected(int i, int size) {
    if (i < 0) i = -i;
    return i < size ? i : 2 * (size - 1) - i;
}

// A pixel's value at (y, x) of the augmented image, normalised. colours: three numbers per colour, first what cutout
// fills in (0..255), then scale and shift, with which pixel * scale + shift is (pixel / 255 - mean) / std.
__device__ inline float normalised_pixel(
    const unsigned char* pixels, const Choice& choice, const Images& images, const float* colours, int y, int x,
    int colour) {
    float pixel;
    if (y >= choice.box_top && y < choice.box_top + images.cutout_box && x >= choice.box_left &&
        x < choice.box_left + images.cutout_box) {
        pixel = colours[colour];
    } else {
        const int column = choice.flip ? images.size - 1 - x : x;
        const int from_y = reflected(y + choice.top - images.padding, images.size);
        const int from_x = reflected(column + choice.left - images.padding, images.size);
        const int64 image = (int64)choice.index * images.size * images.size;
        pixel = pixels[(image + from_y * images.size + from_x) * images.channels + colour];
    }
    return pixel * colours[images.channels + colour] + colours[2 * images.channels + colour];
}

// One thread per entry.
template <class T>
__global__ void gather_patches_plain(
    const unsigned char* pixels, const Choice* choices, const float* colours, T* patches, int size, int channels, int patch,
    int overlap, int padding, int cutout_box, int batch, int64 entries) {
    const Images images = {size, channels, patch, padding, cutout_box};
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= entries) return;
    const int window = patch + 2 * overlap, features = window * window * channels;
    const int row = i / features, feature = i - (int64)row * features;  // row: token * batch + image
    const int across = size / patch, token = row / batch, in_patch = feature / channels;
    const int y = reflected(token / across * patch - overlap + in_patch / window, size);
    const int x = reflected(token % across * patch - overlap + in_patch % window, size);
    patches[i] =
        from_float<T>(normalised_pixel(pixels, choices[row % batch], images, colours, y, x, feature % channels));
}

// Step 1: V entries per thread, written with one store. The reads are bytes, but a patch row is a handful of
// neighbouring ones and a batch of small images fits the L2 cache; the writes are what counts.
// Step 2: a row of patches belongs to a few threads, so that token and image come from one division each, in 32 bits,
// and colour, column and line are counted on from entry to entry instead of being divided out of its number.
//
// block (threads along a row, rows), grid (row blocks)
template <class T, int V>
__global__ void gather_patches(
    const unsigned char* pixels, const Choice* choices, const float* colours, T* patches, int size, int channels, int patch,
    int overlap, int padding, int cutout_box, int batch, int rows) {
    const Images images = {size, channels, patch, padding, cutout_box};
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    const int window = patch + 2 * overlap, features = window * window * channels;
    const int across = size / patch, token = row / batch;
    const int top = token / across * patch - overlap, left = (token - token / across * across) * patch - overlap;
    const Choice choice = choices[row - token * batch];
    for (int first = threadIdx.x * V; first < features; first += blockDim.x * V) {  // features is a multiple of V
        const int in_patch = first / channels;
        int colour = first - in_patch * channels, line = in_patch / window, column = in_patch - line * window;
        float value[V];
#pragma unroll
        for (int v = 0; v < V; v++) {
            const int y = reflected(top + line, size), x = reflected(left + column, size);
            value[v] = normalised_pixel(pixels, choice, images, colours, y, x, colour);
            if (++colour == channels) {
                colour = 0;
                if (++column == window) column = 0, line++;
            }
        }
        store<T, V>(patches + (int64)row * features + first, value);
    }
}
