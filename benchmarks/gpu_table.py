"""The table of the GPU: our step beside its peers, interleaved in one process, with the machine's own ceilings.

JAX comes first, torch.compile, which compiles for minutes, last; our step takes turns with each of them, and "ours is"
says how many times as fast it was in those turns. In bfloat16 our step is also measured launched kernel by kernel
instead of replayed from a CUDA graph ("not captured"), with sums in the order in which blocks finish ("any order",
`--no-deterministic`: shows what a fixed order costs), and with gradients of weights on the main stream ("one stream").

    python -m benchmarks.gpu_table --out results --minutes 4

Writes `table.txt` and `table.json` after every row (a row per model, precision and implementation). An implementation
that fails, whatever library's error it is, costs its own row, which says why; so does one for which no time was left.
"""

import argparse
import gc
import importlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rows import Guarded, Rows, failure_in
from tinymixer.backend import cupy_obstacle
from tinymixer.bench import ours_cupy
from tinymixer.bench.ceilings import gpu_ceilings as ceilings
from tinymixer.bench.models import MODELS, step_flops
from tinymixer.bench.timing import Run, interleaved, steps_for

NOT_ENDED = "it was begun and did not end"
TABLE_MODELS = ("nano", "small/4")
PRECISIONS = ("bfloat16", "tf32")
Maker = tuple[Any, Callable[..., Run]]  # a module with versions, reset_peak and peak_bytes; and what makes a step


def peer(name: str, **options: Any) -> Callable[[], Maker]:
    """Imports a peer when its turn comes: (its module, what makes its step)."""

    def find() -> Maker:
        module = importlib.import_module(f"benchmarks.peers.{name}")
        return module, partial(module.make_step, **options)

    return find


def ours(**options: Any) -> Callable[[], Maker]:
    return lambda: (ours_cupy, partial(ours_cupy.make_step, **options))


def stages(variants: bool) -> list[dict[str, Callable[[], Maker]]]:
    """What is measured beside our step, in this order: what is quick comes first, the slow compiler last."""
    own = {
        "tinymixer, not captured": ours(captured=False),
        "tinymixer, any order": ours(deterministic=False),
        "tinymixer, one stream": ours(two_streams=False),
    }
    return [
        {"JAX jit": peer("jax_mixer"), **(own if variants else {})},
        {"PyTorch eager": peer("torch_mixer")},
        {"torch.compile": peer("torch_mixer", compiled=True)},
    ]


class Table:
    """Measures stage by stage, our step in each of them, in turns with the others.

    write      called whenever a row was added or filled in
    deadline   of `time.monotonic`; nothing new is begun after it
    """

    def __init__(self, rows: Rows, deadline: float) -> None:
        self.rows, self._deadline = rows, deadline
        self._ceilings: dict[str, dict[str, float]] = {}

    def measure(self, model: str, precision: str, others: dict[str, Callable[[], Maker]]) -> None:
        """Add a row for each of the others, and one for our step where there is none yet."""
        own = self._row("tinymixer", model, precision)
        runs = {"tinymixer": self._make(own, ours())}
        for name, find in others.items():
            row = self._row(name, model, precision)
            if "images_per_second" not in row and "failed" not in row:
                runs[name] = self._make(row, find)
            self.rows.write()
        alive = {name: run for name, run in runs.items() if run is not None}
        seconds = interleaved(alive, seconds=0.3) if alive else {}
        ours_took = None if runs["tinymixer"] is None else seconds.get("tinymixer")
        for name, took in seconds.items():
            row = self._row(name, model, precision)
            if alive[name].failure is not None:
                row["failed"] = alive[name].failure
            elif "images_per_second" not in row:
                self._fill(row, took)
            if name != "tinymixer" and ours_took is not None and alive["tinymixer"].failure is None:
                row["ours_over_theirs"] = took / ours_took
        self.rows.write()
        runs.clear()
        alive.clear()
        gc.collect()

    def _row(self, name: str, model: str, precision: str) -> dict[str, Any]:
        for row in self.rows:
            if (row["name"], row["model"], row["precision"]) == (name, model, precision):
                return row
        return self.rows.add({"name": name, "model": model, "batch": MODELS[model][1], "precision": precision})

    def _make(self, row: dict[str, Any], find: Callable[[], Maker]) -> Guarded | None:
        """Build, compile, capture and warm up; None where that fails, and the row says why."""
        if time.monotonic() > self._deadline:
            if "images_per_second" not in row:
                row["left_out"] = "no time was left"
            return None
        config, batch = MODELS[row["model"]]
        with failure_in(row):
            module, make = find()
            module.reset_peak()
            run = make(config, batch, row["precision"], "cuda")
            steps_for(run, 0.1)
            row |= {"version": module.versions(), "peak_bytes": module.peak_bytes()}
            return Guarded(run)
        return None

    def _fill(self, row: dict[str, Any], seconds: float) -> None:
        config, batch = MODELS[row["model"]]
        flops = step_flops(config, batch) / seconds
        row |= {"images_per_second": batch / seconds, "step_milliseconds": seconds * 1e3, "teraflops": flops / 1e12}
        measured = self._ceiling(row)
        if measured:
            row |= {
                "share_of_product_ceiling": flops / measured["product_flops_per_second"],
                "product_ceiling_teraflops": measured["product_flops_per_second"] / 1e12,
                "copy_ceiling_terabytes": measured["copy_bytes_per_second"] / 1e12,
            }

    def _ceiling(self, row: dict[str, Any]) -> dict[str, float]:
        """What this machine can do in a precision, measured once; {} where measuring fails."""
        precision = row["precision"]
        if precision not in self._ceilings:
            trouble: dict[str, Any] = {}
            self._ceilings[precision] = {}
            with failure_in(trouble):
                self._ceilings[precision] = ceilings(precision)
            if trouble:
                row["no_ceiling"] = trouble["failed"]
        return self._ceilings[precision]


def text(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'model':8} {'precision':9} {'implementation':24} {'images/s':>10} {'ms/step':>8} {'TFLOP/s':>8} "
             f"{'of ceiling':>10} {'peak GiB':>9} {'ours is':>8}"]  # fmt: skip
    for row in rows:
        start = f"{row['model']:8} {row['precision']:9} {row['name']:24} "
        if "images_per_second" not in row:
            why = f"FAILED: {row['failed']}" if "failed" in row else f"left out: {row.get('left_out', NOT_ENDED)}"
            lines.append(start + why)
            continue
        peak, share, ratio = (row.get(name) for name in ("peak_bytes", "share_of_product_ceiling", "ours_over_theirs"))
        lines.append(
            start + f"{row['images_per_second']:>10,.0f} {row['step_milliseconds']:>8.3f} {row['teraflops']:>8.1f} "
            + (f"{share:>10.1%} " if share else f"{'-':>10} ")
            + (f"{peak / 2**30:>9.2f}" if peak else f"{'-':>9}")
            + (f" {ratio:>6.2f} x" if ratio else "")
        )  # fmt: skip
    ceiling = {(r["precision"], r["product_ceiling_teraflops"], r["copy_ceiling_terabytes"])
               for r in rows if "product_ceiling_teraflops" in r}  # fmt: skip
    lines += [f"ceilings measured here, {p}: product {f:.0f} TFLOP/s, copy {c:.2f} TB/s" for p, f, c in sorted(ceiling)]
    lines += sorted({f"ceilings: FAILED: {row['no_ceiling']}" for row in rows if "no_ceiling" in row})
    lines += sorted({f"{row['name']}: {row['version']}" for row in rows if "version" in row})
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for table.txt and table.json")
    parser.add_argument("--minutes", type=float, default=4.0, help="start nothing new after this time")
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--precision", action="append", choices=["float32", "tf32", "bfloat16", "float16"])
    chosen = parser.parse_args()
    if obstacle := cupy_obstacle():
        parser.exit(2, f"error: {obstacle}\n")
    rows = Rows(chosen.out, "table", text)
    fill_in(rows, time.monotonic() + 60 * chosen.minutes, chosen.model or TABLE_MODELS, chosen.precision or PRECISIONS)
    print(text(rows), end="")


def fill_in(rows: Rows, deadline: float, models: Sequence[str], precisions: Sequence[str]) -> None:
    """Measure every stage for every model and precision, before the next stage begins."""
    table = Table(rows, deadline)
    for stage in range(len(stages(variants=False))):
        for precision in precisions:
            for model in models:
                table.measure(model, precision, stages(variants=precision == "bfloat16")[stage])


if __name__ == "__main__":
    main()
