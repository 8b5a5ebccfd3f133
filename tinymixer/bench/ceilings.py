"""The most that this machine can do: the rates of a large matrix product and of a copy, measured here and now."""

import statistics
import time
from typing import Any

import numpy as np

from tinymixer.abilities import thread_pool
from tinymixer.bench.timing import interleaved

GPU_COPY_BYTES, GPU_PRODUCT_SIZE = 1 << 30, 8192
CPU_COPY_BYTES, CPU_PRODUCT_SIZE = 1 << 27, 1536
SMALL_PRODUCT, LONG = 256, 0.03  # rows and columns; seconds


def product_size(usual: int) -> int:
    """`usual` rows and columns, or fewer where a product takes long, as it does without a BLAS (in a browser)."""
    operand = np.random.default_rng(0).random((SMALL_PRODUCT, SMALL_PRODUCT), dtype=np.float32)
    seconds = []
    for _ in range(3):  # the first wakes the threads
        started = time.perf_counter()
        operand @ operand
        seconds.append(time.perf_counter() - started)
    return min(usual, SMALL_PRODUCT) if min(seconds) > LONG else usual


def cpu_ceilings(threads: int, repeats: int = 7) -> dict[str, float]:
    """Operations per second of a float32 product by NumPy's BLAS, and bytes per second, read and written, of a copy.

    The environment of this process sets the number of BLAS threads; `threads` threads share each copy.
    """
    rng, size = np.random.default_rng(0), product_size(CPU_PRODUCT_SIZE)
    left, right = (rng.random((size, size), dtype=np.float32) for _ in range(2))
    out = np.empty_like(left)
    sources, targets = (np.zeros((threads, CPU_COPY_BYTES // threads), np.uint8) for _ in range(2))
    products, copies = [], []
    with thread_pool(threads) as pool:
        for _ in range(repeats + 1):
            started = time.perf_counter()
            np.matmul(left, right, out=out)
            products.append(time.perf_counter() - started)
            started = time.perf_counter()
            list(pool.map(np.copyto, targets, sources))
            copies.append(time.perf_counter() - started)
    return {  # the first of each is left out: it wakes the threads and touches the memory
        "product_flops_per_second": 2.0 * size**3 / statistics.median(products[1:]),
        "copy_bytes_per_second": 2.0 * sources.nbytes / statistics.median(copies[1:]),
    }


def scrambled(xp: Any, count: int) -> Any:
    """Numbers of mean 0 and variance 1 that look random: float32 (count,), made where they are used.

    A product of zeros draws less power, and runs faster, than one of numbers; but 67 million normal numbers take the
    host seconds. Each number is its place, scrambled by a hash of 32 bits ("lowbias32", Wellons 2018).
    """
    x = xp.arange(count, dtype=np.uint32)  # (count,)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return (x.astype(np.float32) * np.float32(2.0**-32) - np.float32(0.5)) * np.float32(12**0.5)


def gpu_ceilings(precision: str) -> dict[str, float]:
    """The same rates on the GPU, with products in the precision of the step."""
    import cupy

    from tinymixer.kernels.precision import get_precision
    from tinymixer.kernels.products import make_products

    stream = cupy.cuda.Stream()
    chosen = get_precision(precision)
    with stream:
        source, target = (cupy.zeros(GPU_COPY_BYTES, np.uint8) for _ in range(2))
        drawn = scrambled(cupy, GPU_PRODUCT_SIZE**2).reshape(GPU_PRODUCT_SIZE, GPU_PRODUCT_SIZE)
        bits = drawn.view(np.uint32) >> 16 if chosen.name == "bfloat16" else drawn
        a = cupy.asarray(bits.astype(chosen.storage))
        out = cupy.empty_like(a)
        products, _ = make_products(cupy, stream, chosen)

        def copy(times: int) -> None:
            for _ in range(times):
                cupy.copyto(target, source)
            stream.synchronize()

        def multiply(times: int) -> None:
            for _ in range(times):
                products.multiply(a, a, out=out)
            stream.synchronize()

        seconds = interleaved({"copy": copy, "product": multiply}, seconds=0.2, turns=3)
        products.close()
    return {
        "product_flops_per_second": 2.0 * GPU_PRODUCT_SIZE**3 / seconds["product"],
        "copy_bytes_per_second": 2.0 * GPU_COPY_BYTES / seconds["copy"],
    }
