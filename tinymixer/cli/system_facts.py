"""Collects the facts about this machine that `tinymixer doctor` shows, as plain values."""

import os
import platform
import statistics
import sys
import time
from importlib import metadata
from typing import Any

from tinymixer import __version__
from tinymixer.abilities import usable_cores
from tinymixer.backend import cupy_obstacle
from tinymixer.bench.machine import processor_name

# An extra of tinymixer -> its packages. Of the names in a tuple, one is enough.
EXTRAS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "cli": ("click", "filelock", "matplotlib", "pillow", "rich", "threadpoolctl", "tomli-w", "tqdm"),
    "lessons": ("jupyterlab", "pytest"),
    "cuda13": (("cupy-cuda13x", "cupy-cuda12x", "cupy"), "nvmath-python"),
    "cutile": ("cuda-tile", "nvidia-cuda-tileiras"),
    "peers": ("torch", "timm", "jax"),
}
HARMFUL_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREAD_SETTINGS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def system_facts() -> dict[str, Any]:
    """Versions, processor, BLAS, GPU, and warnings in sentences, as values for JSON."""
    facts = {
        "tinymixer": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": {"numpy": metadata.version("numpy")} | optional_packages(),
        "cpu": {"name": processor_name(), "cores": usable_cores(), "cache": cache_facts()},
        "blas": blas_facts() | {"gigaflops_float32": round(matrix_product_rate() / 1e9, 1)},
        "gpu": _gpu_facts(),
    }
    return facts | {"warnings": _warnings(facts)}


def optional_packages() -> dict[str, str | None]:
    """The packages of tinymixer's extras: name -> version, None where the package is not installed."""
    versions: dict[str, str | None] = {}
    for packages in EXTRAS.values():
        for names in packages:
            alternatives = (names,) if isinstance(names, str) else names
            found = [(name, version) for name in alternatives if (version := _version(name))]
            name, version = found[0] if found else (alternatives[0], None)
            versions[name] = version
    return versions


def cache_facts() -> dict[str, Any]:
    """The cache size that one thread can use, and the number of the default model's images in a slice that fits it.

    There are two such numbers: for training, and for a forward pass alone.
    """
    from tinymixer.engines.cpu.cache import largest_cache
    from tinymixer.engines.cpu.slices import choose_slice
    from tinymixer.models import MixerConfig

    cache = largest_cache()
    size = choose_slice(MixerConfig(), 4, cache)
    bytes_per_thread = None if cache is None else cache.share
    return {
        "bytes_per_thread": bytes_per_thread,
        "slice_images": size.images,
        "forward_images": size.forward_images,
        "slice_reason": size.reason,
    }


def blas_facts() -> dict[str, Any]:
    """NumPy's BLAS library: name ("none" where NumPy multiplies itself), version, core (its processor type), threads.

    Without the package threadpoolctl, only the facts from NumPy's build are known; the others are None.
    """
    import numpy as np

    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        pools = []
    else:
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if pools:
        pool = next((pool for pool in pools if "numpy" in pool["filepath"]), pools[0])
        return {
            "name": pool["internal_api"],
            "version": pool["version"],
            "core": pool.get("architecture"),
            "threads": pool["num_threads"],
        }
    built_with = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    if "version" not in built_with:  # NumPy was built without a BLAS, as for browsers; then its name is "auto"
        return {"name": "none", "version": None, "core": None, "threads": None}
    return {"name": built_with["name"], "version": built_with["version"], "core": None, "threads": None}


def matrix_product_rate(repeats: int = 7) -> float:
    """The median rate of float32 products (size, size) @ (size, size), in floating-point operations per second."""
    import numpy as np

    from tinymixer.bench.ceilings import product_size

    generator, size = np.random.default_rng(0), product_size(1024)
    left, right = (generator.random((size, size), dtype=np.float32) for _ in range(2))
    seconds = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds[2:])  # the first two start the threads


def _gpu_facts() -> dict[str, Any]:
    """Whether CuPy can be used, on which GPU, and if not, why not."""
    obstacle = cupy_obstacle()
    if obstacle:
        return {"usable": False, "obstacle": obstacle}
    import cupy

    device = cupy.cuda.Device()
    properties = cupy.cuda.runtime.getDeviceProperties(device.id)
    return {
        "usable": True,
        "obstacle": None,
        "name": properties["name"].decode(),
        "memory_gib": round(properties["totalGlobalMem"] / 2**30, 1),
        "compute_capability": device.compute_capability,
        "cuda_runtime": _cuda_version(cupy.cuda.runtime.runtimeGetVersion()),
        "cuda_driver": _cuda_version(cupy.cuda.runtime.driverGetVersion()),
    }


def _cuda_version(number: int) -> str:
    """Format CUDA's version number: 12040 becomes "12.4"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _warnings(facts: dict[str, Any]) -> list[str]:
    """A sentence for each thing that makes NumPy slow on this machine, with what to do about it."""
    warnings = [
        f"{name}={os.environ[name]} is set, which can halve the speed of NumPy's matrix products: unset {name}"
        for name in HARMFUL_SETTINGS
        if os.environ.get(name)
    ]
    threads, cores = facts["blas"]["threads"], facts["cpu"]["cores"]
    if threads and threads > cores:
        warnings.append(
            f"BLAS runs {threads} threads on {cores} usable cores, which slows it down: export OMP_NUM_THREADS={cores}"
        )
    if threads and threads < cores:
        named = [f"{name}={os.environ[name]}" for name in THREAD_SETTINGS if os.environ.get(name)]
        because = f" ({', '.join(named)})" if named else ""
        warnings.append(f"BLAS runs {threads} of {cores} possible threads{because}")
    return warnings


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
