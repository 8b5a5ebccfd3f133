// Keeps a stream busy, so that what is launched meanwhile can be timed without the host (tinymixer/kernels/timing.py).
#include "common.cuh"

// One thread that waits for some cycles of its multiprocessor's clock.
template <class T>
__global__ void hold_stream(int64 cycles) {
    const int64 start = clock64();
    while (clock64() - start < cycles) {}
}
