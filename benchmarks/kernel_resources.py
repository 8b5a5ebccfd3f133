"""What nvcc makes of every kernel of a training step, per architecture: registers, spilled bytes, shared memory.

    python -m benchmarks.kernel_resources --model nano

Needs nvcc and c++filt, and no GPU. Prints the table of docs/gpu.md in Markdown. A kernel that spills keeps numbers in
memory for which it found no register; one whose registers times 256 threads times the blocks that should be resident
are more than 65,536 leaves a multiprocessor idle.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tinymixer.bench.models import MODELS
from tinymixer.engines.cuda.mixer_launches import MixerLaunches
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import translation_unit
from tinymixer.kernels.precision import get_precision

NVCC = shutil.which("nvcc")
ARCHITECTURES = (75, 80, 90, 100, 120)
MULTIPROCESSORS = 132  # of an H100: only grids depend on it


@dataclass(frozen=True)
class Resources:
    """Of one kernel: registers of a thread; bytes of its stack and of spills; bytes of static shared memory."""

    registers: int
    stack: int
    spilled: int
    shared: int


def kernels_of(model: str, precision: str) -> dict[str, int]:
    """Names of the kernels of a model's step, with the dynamic shared memory of a block where that is known."""
    (config, batch), number = MODELS[model], get_precision(precision).number
    launches = MixerLaunches(config, get_precision(precision), batch, MULTIPROCESSORS)
    shared = {
        name: layout.shared
        for name, layout in (
            launches.norm_forward, launches.norm_mean, launches.norm_backward, launches.patches, launches.column_sums,
            *launches.gelu_forward.values(), *launches.gelu_backward.values(),
        )
    }  # fmt: skip
    shared["augment_images<float>"] = layouts.per_image(batch).shared
    rest = [*launches.kernel_names, "begin_step<float>", "gradient_squares<float>", "settle_step<float>"]
    rest.append(launches.patches[0].replace("gather", "mix"))  # of the same width
    rest += [f"{name}<{number}>" for name in ("sgd_update", "adamw_update", "copy_weights")]
    rest += [f"muon_{name}<{number}>" for name in ("begin", "polynomial", "update")]
    rest += ["muon_momentum<float>", "average_weights<float>"]
    return {name: shared.get(name, 0) for name in sorted({*shared, *rest})}


def compile_kernels(names: Iterable[str], architecture: int) -> dict[str, Resources]:
    """Compile kernels to machine code. Raises RuntimeError with what nvcc says where it refuses, or warns."""
    if NVCC is None:
        raise RuntimeError("nvcc is not installed")
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "kernels.cu"
        table = ", ".join(f"(void*){name}" for name in names)
        code.write_text(f"{translation_unit()}\nvoid* table[] = {{{table}}};\n")
        options = ["-std=c++17", f"-arch=sm_{architecture}", "-cubin", "--resource-usage", "-o", f"{folder}/k"]
        done = subprocess.run([NVCC, *options, str(code)], capture_output=True, text=True, check=False)
    if done.returncode or "warning" in done.stderr:
        raise RuntimeError(done.stderr)
    readable = subprocess.run(["c++filt"], input=done.stderr, capture_output=True, text=True, check=True).stdout
    return _parsed(readable)


def _parsed(report: str) -> dict[str, Resources]:
    found = {}
    for part in report.split("Compiling entry function")[1:]:
        name = re.search(r"'(?:void )?(\w+<.*?>)\(", part)
        used = re.search(r"Used (\d+) registers", part)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        if not (name and used and stack):
            raise RuntimeError(f"nvcc's report cannot be read: {part[:300]}")
        shared = re.search(r"(\d+) bytes smem", part)
        found[name[1].replace("(int)", "")] = Resources(
            int(used[1]), int(stack[1]), int(stack[2]) + int(stack[3]), int(shared[1]) if shared else 0
        )
    return found


def table(model: str, precision: str, architectures: Iterable[int] = ARCHITECTURES) -> str:
    """The table in Markdown: registers per architecture, spills and stack where there are any."""
    names = kernels_of(model, precision)
    found = {sm: compile_kernels(names, sm) for sm in architectures}
    lines = ["| kernel | shared memory, bytes | " + " | ".join(f"sm_{sm}" for sm in found) + " |"]
    lines.append("|---" * (2 + len(found)) + "|")
    for name, dynamic in names.items():
        cells = []
        for sm in found:
            used = found[sm][name]
            extra = f", {used.spilled} B spilled" * bool(used.spilled) + f", {used.stack} B stack" * bool(used.stack)
            cells.append(f"{used.registers}{extra}")
        lines.append(f"| `{name}` | {dynamic + next(iter(found.values()))[name].shared} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="nano")
    parser.add_argument("--precision", choices=["float32", "tf32", "bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--architecture", type=int, action="append", help="such as 90; may be given several times")
    chosen = parser.parse_args()
    if NVCC is None or shutil.which("c++filt") is None:
        parser.exit(2, "error: nvcc or c++filt is not installed\n")
    print(table(chosen.model, chosen.precision, chosen.architecture or ARCHITECTURES), end="")


if __name__ == "__main__":
    main()
