"""The table of the GPU: our step beside its peers, interleaved in one process, with the machine's own ceilings.

In bfloat16 our step is measured three times: as it is by default; launched kernel by kernel instead of replayed from a
CUDA graph ("not captured"); and with sums in the order in which blocks finish ("any order", `--no-deterministic`).
The last one shows what a fixed order costs.

    python -m benchmarks.gpu_table --out results --minutes 4

Writes `table.txt` and `table.json` (a row per model, precision and implementation; ours first). The table names the
implementations that failed, and those that were left out because no time was left.
"""

import argparse
import gc
import importlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tinymixer.backend import cupy_obstacle
from tinymixer.bench import ours_cupy
from tinymixer.bench.ceilings import gpu_ceilings as ceilings
from tinymixer.bench.models import MODELS, step_flops
from tinymixer.bench.timing import Run, interleaved, steps_for

TABLE_MODELS = ("nano", "small/4")
FAILURES = (ImportError, RuntimeError, ValueError, OSError, MemoryError)


def implementations(variants: bool) -> dict[str, tuple[Any, Callable[..., Run]]]:
    """Name -> (module, make_step): ours, our variants if `variants`, and the peers that are installed."""
    found: dict[str, tuple[Any, Callable[..., Run]]] = {"tinymixer": (ours_cupy, ours_cupy.make_step)}
    if variants:
        found["tinymixer, not captured"] = ours_cupy, partial(ours_cupy.make_step, captured=False)
        found["tinymixer, any order"] = ours_cupy, partial(ours_cupy.make_step, deterministic=False)
    for name, module_name, options in (
        ("JAX jit", "jax_mixer", {}),
        ("PyTorch eager", "torch_mixer", {}),
        ("torch.compile", "torch_mixer", {"compiled": True}),
    ):
        try:
            module = importlib.import_module(f"benchmarks.peers.{module_name}")
        except ImportError as error:
            print(f"{name}: not installed ({error})", flush=True)
            continue
        found[name] = module, partial(module.make_step, **options)
    return found


def measure(model: str, precision: str, deadline: float, variants: bool = True) -> list[dict[str, Any]]:
    """One row per implementation, in the order of `implementations`."""
    config, batch = MODELS[model]
    rows: list[dict[str, Any]] = []
    runs: dict[str, Run] = {}
    measured = ceilings(precision)
    copy_rate, product_rate = measured["copy_bytes_per_second"], measured["product_flops_per_second"]
    for name, (module, make) in implementations(variants).items():
        row: dict[str, Any] = {"name": name, "model": model, "batch": batch, "precision": precision}
        rows.append(row)
        if time.monotonic() > deadline:
            row["left_out"] = "no time was left"
            continue
        try:
            module.reset_peak()
            run = make(config, batch, precision, "cuda")
            steps_for(run, 0.1)  # compiles, captures, warms up
            row |= {"version": module.versions(), "peak_bytes": module.peak_bytes()}
            runs[name] = run
        except FAILURES as error:
            row["left_out"] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    for name, seconds in interleaved(runs, seconds=0.3).items():
        row = next(row for row in rows if row["name"] == name)
        rate = step_flops(config, batch) / seconds
        row |= {
            "images_per_second": batch / seconds,
            "step_milliseconds": seconds * 1e3,
            "teraflops": rate / 1e12,
            "share_of_product_ceiling": rate / product_rate,
            "product_ceiling_teraflops": product_rate / 1e12,
            "copy_ceiling_terabytes": copy_rate / 1e12,
        }
    runs.clear()
    gc.collect()
    return rows


def text(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'model':8} {'precision':9} {'implementation':24} {'images/s':>10} {'ms/step':>8} {'TFLOP/s':>8} "
             f"{'of ceiling':>10} {'peak GiB':>9}"]  # fmt: skip
    for row in rows:
        start = f"{row['model']:8} {row['precision']:9} {row['name']:24} "
        if "images_per_second" not in row:
            lines.append(start + "left out: " + str(row.get("left_out")))
            continue
        peak = row["peak_bytes"]
        lines.append(
            start + f"{row['images_per_second']:>10,.0f} {row['step_milliseconds']:>8.3f} {row['teraflops']:>8.1f} "
            f"{row['share_of_product_ceiling']:>10.1%} " + (f"{peak / 2**30:>9.2f}" if peak else f"{'-':>9}")
        )
    ceiling = {(r["precision"], r["product_ceiling_teraflops"], r["copy_ceiling_terabytes"])
               for r in rows if "product_ceiling_teraflops" in r}  # fmt: skip
    lines += [f"ceilings measured here, {p}: product {f:.0f} TFLOP/s, copy {c:.2f} TB/s" for p, f, c in sorted(ceiling)]
    lines += sorted({f"{row['name']}: {row['version']}" for row in rows if "version" in row})
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for table.txt and table.json")
    parser.add_argument("--minutes", type=float, default=4.0, help="start nothing new after this time")
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--precision", action="append", choices=["float32", "tf32", "bfloat16", "float16"])
    chosen = parser.parse_args()
    if obstacle := cupy_obstacle():
        parser.exit(2, f"error: {obstacle}\n")
    chosen.out.mkdir(parents=True, exist_ok=True)
    deadline, rows = time.monotonic() + 60 * chosen.minutes, []
    for model in chosen.model or TABLE_MODELS:
        for precision in chosen.precision or ["bfloat16", "tf32"]:
            if time.monotonic() > deadline:
                rows.append({"name": "all", "model": model, "precision": precision, "left_out": "no time was left"})
                continue
            rows += measure(model, precision, deadline, variants=precision == "bfloat16")
            (chosen.out / "table.json").write_text(json.dumps(rows, indent=1))
            (chosen.out / "table.txt").write_text(text(rows))
    print(text(rows), end="")


if __name__ == "__main__":
    main()
