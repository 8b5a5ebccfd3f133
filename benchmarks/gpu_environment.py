"""The first thing to know about a machine: its GPU, the versions, what is missing, and whether CuPy can be used.

    python -m benchmarks.gpu_environment --out results

Writes `environment.txt` and `environment.json`. Exit code 1: something is missing without which nothing else can run.
"""

import argparse
import importlib
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.rows import Rows, failure_in, sentence_of

NEEDED = ("numpy", "cupy", "pytest", "hypothesis", "click", "rich", "tqdm", "filelock", "tomli_w")
WELCOME = ("nvmath", "torch", "jax")


def packages() -> list[dict[str, Any]]:
    """A row per package: its version, or why it cannot be imported."""
    rows = []
    for name in (*NEEDED, *WELCOME):
        row: dict[str, Any] = {"what": name}
        with failure_in(row):
            module = importlib.import_module(name)
            try:
                row["found"] = metadata.version(name)
            except metadata.PackageNotFoundError:  # CuPy's is called cupy-cuda13x or the like
                row["found"] = str(getattr(module, "__version__", "there"))
        rows.append(row)
    return rows


def device() -> list[dict[str, Any]]:
    """A row per property of the GPU that CuPy sees."""
    import cupy

    def version(number: int) -> str:
        return f"{number // 1000}.{number % 1000 // 10}"

    runtime, gpu = cupy.cuda.runtime, cupy.cuda.Device()
    found: list[dict[str, Any]] = []
    for what, ask in (
        ("GPU", lambda: runtime.getDeviceProperties(gpu.id)["name"].decode()),
        ("compute capability", lambda: gpu.compute_capability),
        ("multiprocessors", lambda: gpu.attributes["MultiProcessorCount"]),
        ("memory, GiB", lambda: round(gpu.mem_info[1] / 2**30, 1)),
        ("CUDA of the driver", lambda: version(runtime.driverGetVersion())),
        ("CUDA runtime", lambda: version(runtime.runtimeGetVersion())),
    ):
        row: dict[str, Any] = {"what": what}
        with failure_in(row):
            row["found"] = str(ask())
        found.append(row)
    return found


def text(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{row['what']:22} {row.get('found') or 'FAILED: ' + row['failed']}\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for environment.txt and environment.json")
    chosen = parser.parse_args()
    rows = Rows(chosen.out, "environment", text)
    rows.add({"what": "machine", "found": f"{platform.platform()}, Python {platform.python_version()}"})
    for row in packages():
        rows.add(row)
    try:
        from tinymixer.backend import cupy_obstacle

        obstacle = cupy_obstacle()
    except Exception as error:
        obstacle = sentence_of(error)
    rows.add({"what": "obstacle", "failed": obstacle} if obstacle else {"what": "obstacle", "found": "none"})
    if not obstacle:
        for row in device():
            rows.add(row)
    print(text(rows), end="")
    sys.exit(1 if obstacle or any("failed" in row and row["what"] in NEEDED for row in rows) else 0)


if __name__ == "__main__":
    main()
