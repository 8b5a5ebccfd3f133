// Strong augmentation: images moved, coloured, normalised and blanked out as tinymixer/data/transforms says, and then
// mixed while their patches are cut.
//
// The host draws everything (tinymixer/engines/cuda/image_records.py) and sends a record for each image. The arithmetic
// is the host's, operation by operation, and products are not fused with sums (`__fmul_rn`): posterize and solarize
// jump, so that a last digit would become a step of the whole pixel. Only mixing rounds in its own way.
#include "common.cuh"

// The same numbers as OPERATIONS in image_records.py gives to the transforms of these names.
enum ColourOperation {
    NO_OPERATION, BRIGHTNESS, CONTRAST, SATURATION, SHARPNESS, OFFSET, CHANNEL_OFFSET, POSTERIZE, SOLARIZE, INVERT
};

// A record is 32-bit words, integers and floats:
//
//   index                       which image of the data set
//   m00 m01 m10 m11 row column  pixel (y, x), relative to the centre, comes from m (y, x) + (row, column), in pixels
//                               from the first one's middle
//   boxes x 4                   first row, row after the last, and the same for columns, to be blanked out
//   operations x (1 + amounts)  a ColourOperation and its amount, or one for each channel
struct RecordLayout {
    static constexpr int FIRST_BOX = 7;  // words before the boxes
    int words, boxes, operations, amounts;
};

struct ImageSize {
    int size, channels;  // height and width; colours
};

// The pixels before and after a place, and its share of the way; places beyond the border are reflected.
__device__ inline float pixels_around(float place, int size, int& before, int& after) {
    const float period = 2.0f * (size > 1 ? size - 1 : 1);
    place = fabsf(place - __fmul_rn(period, floorf(place / period + 0.5f)));  // 0 .. size - 1
    const int last = size > 2 ? size - 2 : 0;
    before = (int)place < last ? (int)place : last;
    after = size > 1 ? before + 1 : before;
    return size > 1 ? place - before : 0.0f;
}

__device__ inline float on_the_way(float from, float to, float share) { return from + __fmul_rn(to - from, share); }

// One number of the moved image, 0 to 1: bilinear interpolation between four pixels.
__device__ inline float resampled(
    const unsigned char* pixels, const int* record, const ImageSize& image, int y, int x, int colour) {
    float map[6];
#pragma unroll
    for (int i = 0; i < 6; i++) map[i] = __int_as_float(record[1 + i]);
    const float centre = 0.5f * (image.size - 1), down = y - centre, across = x - centre;
    int top, bottom, left, right;
    const float row_share = pixels_around(
        __fmul_rn(map[0], down) + __fmul_rn(map[1], across) + map[4], image.size, top, bottom);
    const float column_share = pixels_around(
        __fmul_rn(map[2], down) + __fmul_rn(map[3], across) + map[5], image.size, left, right);
    const unsigned char* of_image = pixels + (int64)record[0] * image.size * image.size * image.channels + colour;
    const auto pixel = [&](int row, int column) {
        return (float)of_image[(row * image.size + column) * image.channels];
    };
    const float upper = on_the_way(pixel(top, left), pixel(top, right), column_share);
    const float lower = on_the_way(pixel(bottom, left), pixel(bottom, right), column_share);
    return __fmul_rn(on_the_way(upper, lower, row_share), 1.0f / 255);
}

// The luminance of a pixel with three colours, the mean of any other number.
__device__ inline float grey(const float* pixel, int channels) {
    const float luminance[3] = {0.299f, 0.587f, 0.114f};
    if (channels == 3)
        return __fmul_rn(pixel[0], luminance[0]) + __fmul_rn(pixel[1], luminance[1]) +
               __fmul_rn(pixel[2], luminance[2]);
    const float weight = 1.0f / channels;
    float sum = __fmul_rn(pixel[0], weight);
    for (int colour = 1; colour < channels; colour++) sum += __fmul_rn(pixel[colour], weight);
    return sum;
}

// The mean grey of an image, the same for all threads of its block. In double, so that no order of the additions can be
// told from another; each warp's sum crosses shared memory (64 floats) as two floats.
__device__ inline float mean_grey(const float* from, const ImageSize& image, float* shared) {
    const int pixels = image.size * image.size;
    double sum = 0;
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) sum += grey(from + i * image.channels, image.channels);
#pragma unroll
    for (int offset = 16; offset; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    __syncthreads();  // the shared floats may still be in use
    if (threadIdx.x % 32 == 0) {
        const float high = (float)sum;
        shared[threadIdx.x / 32] = high;
        shared[32 + threadIdx.x / 32] = (float)(sum - high);
    }
    __syncthreads();
    double total = 0;
    for (int warp = 0; warp < (int)blockDim.x / 32; warp++) total += (double)shared[warp] + shared[32 + warp];
    return (float)(total / pixels);
}

// A number of the sharpened image: away from the mean over 3 x 3 pixels, the middle one counted five times.
__device__ inline float sharpened(const float* from, float factor, const ImageSize& image, int i, int y, int x) {
    const int last = image.size - 1, line = image.size * image.channels;
    if (y == 0 || x == 0 || y == last || x == last) return from[i];
    float box = 0;
#pragma unroll
    for (int column = -1; column <= 1; column++) {
        const int at = i + column * image.channels;
        const float sum = from[at - line] + from[at] + from[at + line];
        box = column == -1 ? sum : box + sum;
    }
    const float smooth = __fmul_rn(box + __fmul_rn(4.0f, from[i]), 1.0f / 13);
    return on_the_way(smooth, from[i], factor);
}

// One number after one operation, cut off at 0 and 1.
__device__ inline float coloured(
    const float* from, const int* words, const ImageSize& image, float mean, int i, int y, int x, int colour) {
    const int operation = words[0];
    const float amount = __int_as_float(words[1 + (operation == CHANNEL_OFFSET ? colour : 0)]);
    float value = from[i];
    if (operation == BRIGHTNESS) value = __fmul_rn(value, amount);
    else if (operation == CONTRAST) value = on_the_way(mean, value, amount);
    else if (operation == SATURATION) value = on_the_way(grey(from + i - colour, image.channels), value, amount);
    else if (operation == SHARPNESS) value = sharpened(from, amount, image, i, y, x);
    else if (operation == OFFSET || operation == CHANNEL_OFFSET) value += amount;
    else if (operation == POSTERIZE)  // the amount is the distance of neighbouring values, of 0..255
        value = __fmul_rn(__fmul_rn(floorf(__fmul_rn(value, 255.0f) / amount + 1e-4f), amount), 1.0f / 255);
    else if (operation == SOLARIZE) value = value >= amount ? 1 - value : value;
    else if (operation == INVERT) value = 1 - value;
    return fminf(fmaxf(value, 0.0f), 1.0f);
}

// A block for each image, a thread for every 256th of its numbers. After moving, an operation at a time goes over the
// whole image, since contrast needs all of it and sharpness its neighbours; the last pass also normalises and blanks
// out. Passes go from `images` to `scratch` and back so that they end in `images`. Both stay in the L2 cache for small
// images (nano at batch 512: 6.3 MB each), and most images have no operation or two.
//
//   pixels (N, size, size, channels), records (rows, words)
//   colours (3, channels)   what is blanked out with, normalised; scale and shift, with which value * scale - shift is
//                           normalised
//   images, scratch (rows, size, size, channels)
//   own_rows                from this row on stand partners, which a step that does not mix leaves out
//
// block (threads), grid (rows); shared: 64 floats; full warps
template <class T>
__global__ void augment_images(
    const unsigned char* pixels, const int* records, const float* colours, const Mix* mix, float* images,
    float* scratch, int size, int channels, int own_rows, int words, int boxes, int operations, int amounts) {
    extern __shared__ float shared[];
    if ((int)blockIdx.x >= own_rows && mix->shift == 0) return;  // whole blocks leave
    const ImageSize image = {size, channels};
    const RecordLayout layout = {words, boxes, operations, amounts};
    const int count = size * size * channels, stride = 1 + layout.amounts;
    const int* record = records + (int64)blockIdx.x * layout.words;
    const int* first_operation = record + RecordLayout::FIRST_BOX + 4 * layout.boxes;
    int passes = 0;  // after the first, which moves
    while (passes < layout.operations && first_operation[passes * stride] != NO_OPERATION) passes++;
    images += (int64)blockIdx.x * count;
    scratch += (int64)blockIdx.x * count;
    for (int pass = 0; pass <= passes; pass++) {
        const bool ends_here = (passes - pass) % 2 == 0;
        const float* from = ends_here ? scratch : images;
        float* to = ends_here ? images : scratch;
        const int* operation = first_operation + (pass - 1) * stride;
        __syncthreads();  // the pass before is done
        float mean = 0;
        if (pass > 0 && operation[0] == CONTRAST) mean = mean_grey(from, image, shared);
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            const int pixel = i / channels, colour = i - pixel * channels, y = pixel / size, x = pixel - y * size;
            float value = pass == 0 ? resampled(pixels, record, image, y, x, colour)
                                    : coloured(from, operation, image, mean, i, y, x, colour);
            if (pass == passes) {
                value = __fmul_rn(value, colours[channels + colour]) - colours[2 * channels + colour];
                for (int box = 0; box < layout.boxes; box++) {
                    const int* edges = record + RecordLayout::FIRST_BOX + 4 * box;
                    if (y >= edges[0] && y < edges[1] && x >= edges[2] && x < edges[3]) value = colours[colour];
                }
            }
            to[i] = value;
        }
    }
}

// Patches of a part of the batch, each image mixed with its partner on the way (mixup: everywhere; CutMix: the
// partner's pixels in the box). A step that does not mix has shares of 1 and 0 and an empty box. Threads as for
// `gather_patches`; here the reads are floats, and images and patches are about as large.
//
//   images (rows, size, size, channels) normalised; partners (batch,), rows of these images' partners
//   first   row of the part's first image;  overlap   pixels that a window reaches beyond its patch, reflected
//
// block (threads along a row of patches, rows), grid (row blocks)
template <class T, int V>
__global__ void mix_patches(
    const float* images, const int* partners, const Mix* mix, T* patches, int size, int channels, int patch,
    int overlap, int first, int batch, int rows) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    const int window = patch + 2 * overlap, features = window * window * channels, across = size / patch;
    const int token = row / batch, i = row - token * batch;
    const int top = token / across * patch - overlap, left = (token - token / across * across) * patch - overlap;
    const Mix how = *mix;
    const float* own = images + (int64)(first + i) * size * size * channels;
    const float* partner = images + (int64)partners[i] * size * size * channels;
    for (int start = threadIdx.x * V; start < features; start += blockDim.x * V) {  // features is a multiple of V
        const int in_window = start / channels;
        int colour = start - in_window * channels, line = in_window / window, column = in_window - line * window;
        float value[V];
#pragma unroll
        for (int v = 0; v < V; v++) {
            const int y = reflected(top + line, size), x = reflected(left + column, size);
            const int at = (y * size + x) * channels + colour;
            const bool pasted = y >= how.top && y < how.bottom && x >= how.left && x < how.right;
            value[v] = pasted ? partner[at] : how.own * own[at] + how.partner * partner[at];
            if (++colour == channels) {
                colour = 0;
                if (++column == window) column = 0, line++;
            }
        }
        store<T, V>(patches + (int64)row * features + start, value);
    }
}
