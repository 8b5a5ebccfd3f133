"""Where a step's time goes, kernel by kernel: time, bytes, and share of the machine's own copy rate.

    tinymixer bench --profile --model nano --precision bfloat16 --backend cupy

The step runs uncaptured, on one stream. Each of its launches, in order, is repeated a few times while the stream is
held (`tinymixer/kernels/timing.py`), so that the host's time is not part of it. Repeating keeps small arrays in the
cache: a share above 100 % means that. `tinymixer/kernels/traffic.py` says which bytes count.
"""

import functools
from collections import defaultdict
from typing import Any

from tinymixer.bench.ceilings import gpu_ceilings
from tinymixer.bench.ours_cupy import make_captured_step, stage_steps
from tinymixer.kernels.timing import DeviceTimer
from tinymixer.kernels.traffic import bytes_moved
from tinymixer.models import MixerConfig

REPEATS = 10


class Recorder:
    """Replaces the functions by which a step launches kernels and products; repeats and times each launch.

    The results of such a step mean nothing: updates and kernels that work in place run many times.
    """

    def __init__(self, cupy: Any, step: Any) -> None:
        self._timer = DeviceTimer(cupy, step.stream, step._kernels.launch)
        self.times: list[tuple[str, int, float]] = []
        self._launch, self._multiply = step._kernels.launch, step._products.multiply
        step._kernels.launch = self.launch
        step._mixer._multiply = self.multiply
        self._multiply_stacks = step._products.multiply_stacks
        step._products.multiply_stacks = self.multiply_stacks
        if step._epilogues is not None:
            self._run = step._epilogues._run
            step._epilogues._run = self.run

    def launch(self, name: str, layout: Any, *arguments: Any) -> None:
        self._time(name, bytes_moved(name, arguments), functools.partial(self._launch, name, layout, *arguments))

    def multiply(self, a: Any, b: Any, out: Any, **options: Any) -> None:
        kind = "".join("t" if options.get(f"transpose_{side}") else "n" for side in "ab")
        name = f"product {kind} {tuple(a.shape)} {tuple(b.shape)}"
        work = functools.partial(self._multiply, a, b, out=out, **options)
        self._time(name, a.nbytes + b.nbytes + out.nbytes, work)

    def multiply_stacks(self, a: Any, b: Any, out: Any, transpose_b: bool = False) -> None:
        """Products of many matrices of one shape."""
        name = f"products n{'t' if transpose_b else 'n'} {tuple(a.shape)} {tuple(b.shape)}"
        work = functools.partial(self._multiply_stacks, a, b, out, transpose_b)
        self._time(name, a.nbytes + b.nbytes + out.nbytes, work)

    def run(self, epilogue: str, a: Any, b: Any, out: Any, bias: Any = None, aux: Any = None) -> None:
        """A product with an epilogue."""
        name = f"product {tuple(a[0].shape)} {tuple(b[0].shape)} with {epilogue}"
        count = sum(array.nbytes for array in (a[0], b[0], out[0], aux) if array is not None)
        self._time(name, count, functools.partial(self._run, epilogue, a, b, out, bias, aux))

    def _time(self, name: str, nbytes: int, work: Any) -> None:
        self.times.append((name, nbytes, self._timer.seconds(work, times=REPEATS, repeats=1)))

    def rows(self) -> list[tuple[str, int, float, float]]:
        """(name, launches per step, microseconds per step, bytes per step), the longest first."""
        totals: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
        for name, nbytes, seconds in self.times:
            entry = totals[name]
            entry[0] += 1
            entry[1] += 1e6 * seconds
            entry[2] += nbytes
        return sorted(((n, int(c), t, b) for n, (c, t, b) in totals.items()), key=lambda row: -row[2])


def profile(config: MixerConfig, batch: int, precision: str, **options: Any) -> list[dict[str, Any]]:
    """A row per kernel: name, milliseconds per step, share of their sum, launches, bytes, share of the copy rate."""
    import cupy

    copy_rate = gpu_ceilings(precision)["copy_bytes_per_second"]
    step = make_captured_step(config, batch, precision, captured=False, two_streams=False, **options)
    stage_steps(step, 4)
    step.run(2)
    recorder = Recorder(cupy, step)
    step.run(1)
    rows = recorder.rows()
    total = sum(row[2] for row in rows)
    return [
        {
            "name": name,
            "milliseconds": microseconds / 1e3,
            "share": microseconds / total,
            "launches": launches,
            "bytes": nbytes,
            "share_of_copy_ceiling": nbytes / (microseconds * 1e-6) / copy_rate,
        }
        for name, launches, microseconds, nbytes in rows
    ]
