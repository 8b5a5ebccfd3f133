"""Where a step's time goes, kernel by kernel: time, bytes, and share of the machine's own copy rate.

    python -m benchmarks.gpu_profile --model nano --precision bfloat16

Each launch of an uncaptured step is repeated a few times between two events, in the order of the step. Repeating hides
the host's launch time; it also lets small arrays stay in the cache, so shares above 100 % are possible and say so.
Bytes count every matrix a launch is given once, and those it changes in place twice.
"""

import argparse
from collections import defaultdict
from typing import Any

from benchmarks.captured import make_captured_step, stage_steps
from benchmarks.gpu_table import ceilings
from benchmarks.models import MODELS

REPEATS = 10
IN_PLACE = ("bias_gelu_backward",)


class Recorder:
    """Stands between a step and its kernels and products; repeats and times whatever is launched."""

    def __init__(self, cupy: Any, step: Any) -> None:
        self._cupy, self._stream = cupy, step.stream
        self.events: list[tuple[str, int, Any, Any]] = []
        self._launch, self._multiply = step._kernels.launch, step._products.multiply
        step._kernels.launch = self.launch
        step._mixer._multiply = self.multiply

    def launch(self, name: str, layout: Any, *arguments: Any) -> None:
        matrices = [a for a in arguments if getattr(a, "ndim", 0) >= 2]
        count = sum(a.nbytes for a in matrices)
        if name.startswith(IN_PLACE):
            count += matrices[0].nbytes
        once = name.startswith(("settle_step", "sgd_update", "adamw_update"))  # these may not be done twice
        self._time(name, count, lambda: self._launch(name, layout, *arguments), 1 if once else REPEATS)

    def multiply(self, a: Any, b: Any, out: Any, **options: Any) -> None:
        kind = "".join("t" if options.get(f"transpose_{side}") else "n" for side in "ab")
        name = f"product {kind} {tuple(a.shape)} {tuple(b.shape)}"
        self._time(name, a.nbytes + b.nbytes + out.nbytes, lambda: self._multiply(a, b, out=out, **options), REPEATS)

    def _time(self, name: str, nbytes: int, work: Any, repeats: int) -> None:
        start, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        work()  # not timed: the first run finds the cache as the step before left it
        start.record(self._stream)
        for _ in range(repeats):
            work()
        end.record(self._stream)
        self.events.append((name, nbytes * repeats, start, (end, repeats)))

    def rows(self) -> list[tuple[str, int, float, float]]:
        """(name, launches per step, microseconds per step, bytes per step), the longest first."""
        totals: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
        self._stream.synchronize()
        for name, nbytes, start, (end, repeats) in self.events:
            entry = totals[name]
            entry[0] += 1
            entry[1] += 1e3 * self._cupy.cuda.get_elapsed_time(start, end) / repeats
            entry[2] += nbytes / repeats
        return sorted(((n, int(c), t, b) for n, (c, t, b) in totals.items()), key=lambda row: -row[2])


def profile(model: str, precision: str) -> str:
    import cupy

    config, batch = MODELS[model]
    copy_rate, _ = ceilings(precision)
    step = make_captured_step(config, batch, precision, captured=False)
    stage_steps(step, 4)
    step.run(2)
    recorder = Recorder(cupy, step)
    step.run(1)
    rows = recorder.rows()
    total = sum(row[2] for row in rows)
    lines = [f"{model}, batch {batch}, {precision}: {total:,.0f} us of kernels, {sum(r[1] for r in rows)} launches; "
             f"copy rate measured here {copy_rate / 1e12:.2f} TB/s",
             f"{'us/step':>9} {'share':>6} {'launches':>8} {'MB/step':>9} {'of copy':>8}  kernel"]  # fmt: skip
    for name, launches, microseconds, nbytes in rows:
        of_copy = nbytes / (microseconds * 1e-6) / copy_rate
        lines.append(f"{microseconds:>9.1f} {microseconds / total:>6.1%} {launches:>8} {nbytes / 1e6:>9.1f} "
                     f"{of_copy:>8.1%}  {name}")  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(MODELS), default="nano")
    parser.add_argument("--precision", choices=["float32", "tf32", "bfloat16", "float16"], default="bfloat16")
    chosen = parser.parse_args()
    print(profile(chosen.model, chosen.precision), end="")


if __name__ == "__main__":
    main()
