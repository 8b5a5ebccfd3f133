// Runs the kernels of tinymixer/kernels/cuda on the CPU, for tests of their arithmetic where there is no GPU.
//
// The .cu files are compiled by g++ as they stand; this header, included first, gives meaning to the CUDA words they
// use. The threads of a block are fibers: each runs until it waits at a barrier or ends, then the next one
// does, so a block's threads really meet at __syncthreads and exchange values in a warp. Stricter than a GPU:
//   - shared memory starts as NaN, and so does the surrounding of every array (emulator.py), so that reading what
//     nobody wrote spoils the result;
//   - a barrier or warp exchange that some thread has left, or never reaches, is reported instead of hanging;
//   - an access at an address that is no multiple of its size is reported, as a GPU faults there: 16 bytes at once need
//     a multiple of 16 (emulator.py compiles with -fsanitize=alignment, whose handler stands below);
//   - threads can be run in reversed order: a result that depends on the order is a missing barrier.
// What it cannot show: speed, and races that only true concurrency brings out.
#pragma once
#define TINYMIXER_EMULATED

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
static dim3 gridDim, blockDim, blockIdx, threadIdx;
constexpr size_t SHARED_BYTES = 48 * 1024;  // what a block gets on every GPU without asking for more
alignas(16) float shared[SHARED_BYTES / sizeof(float)];

// ------------------------------------------------------------------------------------------ number formats

struct __half {
    _Float16 value;
};
inline float __half2float(__half h) { return (float)h.value; }
inline __half __float2half_rn(float f) { return {(_Float16)f}; }

struct __nv_bfloat16 {
    uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 b) {
    const uint32_t wide = (uint32_t)b.bits << 16;
    float f;
    memcpy(&f, &wide, 4);
    return f;
}
inline __nv_bfloat16 __float2bfloat16_rn(float f) {
    uint32_t wide;
    memcpy(&wide, &f, 4);
    if (f != f) return {0x7fff};
    return {(uint16_t)((wide + 0x7fff + (wide >> 16 & 1)) >> 16)};  // to nearest, ties to even
}

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __fmul_rn(float a, float b) { return a * b; }  // x86-64 without options has no fused product and sum
inline float __int_as_float(int bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
inline long long clock64() {
    static long long now = 0;
    return now += 1000;
}
inline void atomicAdd(float* to, float value) { *to += value; }

// ------------------------------------------------------------------------------------------ threads of a block

struct Barrier {
    int arrived = 0;
    unsigned generation = 0;
};
struct Fiber {
    ucontext_t context;  // where it first starts, on a stack of its own
    jmp_buf place;       // where it waits; jumping costs no system call, unlike swapping contexts
    bool started, done;
    unsigned exchanges;  // warp exchanges so far: even and odd ones use different slots
};

constexpr int MOST_THREADS = 1024, STACK_BYTES = 64 * 1024;
static Fiber fibers[MOST_THREADS];
static char* stacks;
static jmp_buf scheduler;
static Barrier block_barrier, warp_barriers[MOST_THREADS / 32];
static uint64_t slots[2][MOST_THREADS];
static int threads, current;
static unsigned long progress;
static const std::function<void()>* body;
static bool misaligned;

// What -fsanitize=alignment calls before a misaligned access; the access itself is harmless on the host.
extern "C" void __ubsan_handle_type_mismatch_v1(void*, uintptr_t) { misaligned = true; }

// Let the others go on.
inline void leave() {
    const int me = current;
    if (!_setjmp(fibers[me].place)) _longjmp(scheduler, 1);
}

inline void wait_at(Barrier& barrier, int expected) {
    const unsigned generation = barrier.generation;
    if (++barrier.arrived == expected) {
        barrier.arrived = 0;
        barrier.generation++;
        progress++;
    } else {
        while (barrier.generation == generation) leave();
    }
}
inline void __syncthreads() { wait_at(block_barrier, threads); }

template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
    const int me = current, parity = fibers[me].exchanges++ & 1;
    memcpy(&slots[parity][me], &value, sizeof(T));
    wait_at(warp_barriers[me / 32], 32);  // a block that is no multiple of 32 never passes: the mask names 32 lanes
    memcpy(&value, &slots[parity][me ^ lane_mask], sizeof(T));
    return value;
}

// The life of a fiber: one thread of one block after another.
inline void enter() {
    for (;;) {
        (*body)();
        fibers[current].done = true;
        progress++;
        leave();
    }
}

inline void start_fiber(Fiber& fiber, char* stack) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack;
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber.context, enter, 0);
    fiber.started = true;
    setcontext(&fiber.context);
}

inline void resume(int thread) {
    current = thread;
    if (_setjmp(scheduler)) return;
    if (fibers[thread].started) _longjmp(fibers[thread].place, 1);
    start_fiber(fibers[thread], stacks + (size_t)thread * STACK_BYTES);
}

// Run one launch; null, or a sentence about what went wrong.
inline const char* run(dim3 grid, dim3 block, size_t shared_bytes, bool reversed, const std::function<void()>& kernel) {
    threads = block.x * block.y * block.z;
    if (threads < 1 || threads > MOST_THREADS) return "a block has 1 to 1024 threads";
    if (grid.x < 1 || grid.y < 1 || grid.y > 65535 || grid.z != 1) return "the grid is empty or too large";
    if (shared_bytes > SHARED_BYTES) return "more than 48 KB of shared memory";
    if (!stacks)
        stacks = (char*)mmap(nullptr, (size_t)MOST_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    gridDim = grid, blockDim = block, body = &kernel, misaligned = false;
    for (unsigned b = 0; b < grid.x * grid.y; b++) {
        blockIdx = {b % grid.x, b / grid.x, 0};
        memset(shared, 0xff, sizeof shared);
        block_barrier = {};
        for (Barrier& barrier : warp_barriers) barrier = {};
        for (int t = 0; t < threads; t++) {
            fibers[t].done = false;
            fibers[t].exchanges = 0;
        }
        for (int left = threads; left;) {
            const unsigned long before = progress;
            left = 0;
            for (int t = 0; t < threads; t++) {
                const unsigned thread = reversed ? threads - 1 - t : t;
                if (fibers[thread].done) continue;
                threadIdx = {thread % block.x, thread / block.x % block.y, thread / (block.x * block.y)};
                resume(thread);
                left += !fibers[thread].done;
            }
            if (left && progress == before) {
                for (int t = 0; t < threads; t++) fibers[t].started = false;  // give up where they wait
                return "some threads wait for others that have left or wait elsewhere";
            }
        }
        for (size_t i = (shared_bytes + 3) / 4; i < SHARED_BYTES / 4; i++) {
            uint32_t bits;
            memcpy(&bits, shared + i, 4);
            if (bits != 0xffffffffu) return "shared memory was written beyond what the launch asked for";
        }
    }
    return misaligned ? "misaligned address: an access of several elements at once did not start at a multiple of its size"
                      : nullptr;
}

// ------------------------------------------------------------------------------------------ the way in from Python

struct Kernel {
    const char* name;
    std::vector<int> argument_bytes;
    std::function<const char*(dim3, dim3, size_t, bool, void**)> launch;
};

template <class... A, size_t... I>
Kernel make_kernel(const char* name, void (*kernel)(A...), std::index_sequence<I...>) {
    return {name, {(int)sizeof(A)...}, [kernel](dim3 grid, dim3 block, size_t bytes, bool reversed, void** arguments) {
                return run(grid, block, bytes, reversed, [&] { kernel(*(A*)arguments[I]...); });
            }};
}
template <class... A> Kernel make_kernel(const char* name, void (*kernel)(A...)) {
    return make_kernel(name, kernel, std::index_sequence_for<A...>());
}

extern const std::vector<Kernel> KERNELS;  // at the end of the generated source

static const Kernel* find(const char* name) {
    for (const Kernel& kernel : KERNELS)
        if (!strcmp(kernel.name, name)) return &kernel;
    return nullptr;
}

// How many arguments a kernel takes and how many bytes each has; -1 for an unknown kernel.
extern "C" int kernel_arguments(const char* name, int* bytes) {
    const Kernel* kernel = find(name);
    if (!kernel) return -1;
    for (size_t i = 0; i < kernel->argument_bytes.size(); i++) bytes[i] = kernel->argument_bytes[i];
    return kernel->argument_bytes.size();
}

extern "C" const char* launch_kernel(
    const char* name, const unsigned* grid, const unsigned* block, size_t shared_bytes, int reversed, void** arguments) {
    return find(name)->launch({grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared_bytes, reversed,
                              arguments);
}
