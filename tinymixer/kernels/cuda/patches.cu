// From the data set, resident on the GPU as uint8, to normalised patches of an augmented batch.
//
// The host draws what happens to each image (tinymixer/data/augmentation.py) and sends six numbers per image; the
// batch itself never crosses the bus. Order: crop out of the image padded by reflection, mirror, blank out a box, normalise.
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

// The value of one entry of the patch matrix (S, B, P*P*channels). `fill`, `mean` and `inv_std` are per colour: fill
// in pixel values 0..255, mean and std of pixels scaled to 0..1.
__device__ inline float patch_entry(
    const unsigned char* pixels, const Choice& choice, const Images& images, const float* colours, int token,
    int feature) {
    const int across = images.size / images.patch, colour = feature % images.channels;
    const int in_patch = feature / images.channels;
    const int y = token / across * images.patch + in_patch / images.patch;
    const int x = token % across * images.patch + in_patch % images.patch;
    const float *fill = colours, *mean = colours + images.channels, *std = colours + 2 * images.channels;
    float pixel;
    if (y >= choice.box_top && y < choice.box_top + images.cutout_box && x >= choice.box_left &&
        x < choice.box_left + images.cutout_box) {
        pixel = fill[colour];
    } else {
        const int column = choice.flip ? images.size - 1 - x : x;
        const int from_y = reflected(y + choice.top - images.padding, images.size);
        const int from_x = reflected(column + choice.left - images.padding, images.size);
        const int64 image = (int64)choice.index * images.size * images.size;
        pixel = pixels[(image + from_y * images.size + from_x) * images.channels + colour];
    }
    return (pixel / 255.0f - mean[colour]) / std[colour];
}

// One thread per entry.
template <class T>
__global__ void gather_patches_plain(
    const unsigned char* pixels, const Choice* choices, const float* colours, T* patches, int size, int channels, int patch,
    int padding, int cutout_box, int batch, int64 entries) {
    const Images images = {size, channels, patch, padding, cutout_box};
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= entries) return;
    const int features = images.patch * images.patch * images.channels;
    const int row = i / features;  // token * batch + image
    patches[i] =
        from_float<T>(patch_entry(pixels, choices[row % batch], images, colours, row / batch, i - (int64)row * features));
}

// V entries per thread, written with one store. The reads are bytes, but a patch row is a handful of neighbouring
// ones and a batch of small images fits the L2 cache; the writes are what counts.
template <class T, int V>
__global__ void gather_patches(
    const unsigned char* pixels, const Choice* choices, const float* colours, T* patches, int size, int channels, int patch,
    int padding, int cutout_box, int batch, int64 entries) {
    const Images images = {size, channels, patch, padding, cutout_box};
    const int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (i >= entries) return;  // entries is a multiple of V
    const int features = images.patch * images.patch * images.channels;
    const int row = i / features, first = i - (int64)row * features;
    const Choice choice = choices[row % batch];
    float value[V];
#pragma unroll
    for (int v = 0; v < V; v++) value[v] = patch_entry(pixels, choice, images, colours, row / batch, first + v);
    store<T, V>(patches + i, value);
}
