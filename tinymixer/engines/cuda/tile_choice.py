"""Decides which MLPs of a step become tile kernels: where they compile, agree with the products, and are faster.

A block of the model, alone and with random numbers, is the ground on which both ways are tried before the step's
memory is planned:

1. The kernels are compiled for this GPU and loaded; one that asks for more than the GPU has is left out.
2. Each pass is computed both ways, and the results must agree within the format's rounding. So a wrong kernel costs
   speed, never a training run.
3. The kernels are captured in a CUDA graph and replayed, and must give the same bits.
4. Both ways are timed, pass by pass, and the faster combination is taken. It is kept in the cache folder (`Tuning`).

Whatever fails on the way, the products compute that MLP as before, and a sentence says why.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinymixer.engines.cuda.device_mixer import DeviceMixer
from tinymixer.engines.cuda.memory_plan import FusedMlps
from tinymixer.engines.cuda.tile_mlps import TileMlps
from tinymixer.kernels.epilogues import Epilogues
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.precision import Precision
from tinymixer.kernels.products import make_products
from tinymixer.kernels.tiles.compiler import TileError, cutile, versions
from tinymixer.kernels.tiles.on_numpy import round_to_bits
from tinymixer.kernels.tiles.tile_kernels import TileKernel, load_kernel
from tinymixer.kernels.tiles.tile_sizes import BACKWARD, FORWARD, KINDS, Kind, MlpSizes, candidates, obstacle
from tinymixer.kernels.timing import HOLD, DeviceTimer
from tinymixer.kernels.tuning import Tuning
from tinymixer.models import MlpMixer
from tinymixer.text import reason_of

# The most by which both ways may differ, as a share of the result's norm: some roundings of the format, for both round
# at other places. A result that is off by 5 % is found in all three.
AGREEMENT = {"bfloat16": 0.03, "float16": 0.004}
COMPARED = 1 << 20  # elements of each result that are brought to the host


@dataclass(frozen=True)
class TileChoice:
    """The tile kernels; a sentence that says why not all are used, where speed is not the reason; and whether some
    failed that should have worked (cuTile that is not installed, or a model that they do not fit, is no failure)."""

    tiles: TileMlps
    note: str | None = None
    failed: bool = False


# From a mixer, its kernels and whether its products can be captured: gives these their epilogues, and returns them.
UseEpilogues = Callable[[DeviceMixer, Kernels, bool], Epilogues | None]


@dataclass(frozen=True)
class Surroundings:
    """What the choice needs to know of the step."""

    cupy: Any
    stream: Any
    model: MlpMixer
    precision: Precision
    images: int

    @property
    def multiprocessors(self) -> int:
        return int(self.cupy.cuda.Device().attributes["MultiProcessorCount"])

    @property
    def architecture(self) -> str:
        return f"sm_{self.cupy.cuda.Device().compute_capability}"

    @property
    def sizes(self) -> MlpSizes:
        config = self.model.config
        return MlpSizes(
            config.num_tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim, self.images,
            self.multiprocessors,
        )  # fmt: skip


def choose_tiles(around: Surroundings, tuning: Tuning | None, use_epilogues: UseEpilogues) -> TileChoice:
    """Which tile kernels a step uses.

    tuning          keeps which way was faster; None takes tile kernels wherever they work, without timing
    use_epilogues   gives a mixer's products their epilogues, so that tile kernels are compared with the best there is
    """
    config, precision, sizes = around.model.config, around.precision, around.sizes
    why = obstacle(sizes, precision, config.gelu, config.dropout, around.architecture)
    if why is not None:
        return TileChoice(TileMlps(), f"the MLPs are not fused into tile kernels: {why}")
    chosen: dict[str, str] = {}
    kernels: dict[str, TileKernel] = {}
    notes, failed = [], False
    trial: _Trial | None = None
    try:
        cutile()
    except TileError as error:
        return TileChoice(TileMlps(), f"the MLPs are not fused into tile kernels: {error}")
    for kind in KINDS:
        key = f"tiles {kind} {sizes} {precision.name} {around.architecture} {_driver(around.cupy)} {versions()}"
        known = None if tuning is None else tuning.get(key)
        if known == "none":
            continue
        if not all(candidates(name, sizes, around.architecture) for name in BACKWARD[kind]):
            notes.append(
                f"the {kind} MLP is not fused into a tile kernel: it is too wide, or no tile divides the batch"
            )
            continue
        try:
            loaded = {
                name: load_kernel(around.cupy, name, sizes, precision, around.architecture)
                for name in (*BACKWARD[kind], *(() if known == "backward" else FORWARD[kind]))
            }
            if known is None:
                trial = trial or _Trial(around, use_epilogues)
                known = trial.better(kind, loaded, timed=tuning is not None)
        except Exception as error:  # a comfort: whatever goes wrong in it, the products compute this MLP
            _end_capture(around.stream)
            said = str(error) if isinstance(error, TileError) else f"{type(error).__name__}: {reason_of(error)}"
            notes.append(f"the {kind} MLP is not fused into a tile kernel: {said}")
            failed = True
            continue
        if tuning is not None:
            tuning.put(key, known)
        chosen[kind] = known
        kernels |= loaded
    if trial is not None:
        with suppress(Exception):
            trial.close()
    return TileChoice(TileMlps(FusedMlps(**chosen), kernels), "; ".join(notes) or None, failed)


def _driver(cupy: Any) -> str:
    with suppress(Exception):
        return f"driver {cupy.cuda.runtime.driverGetVersion()}"
    return "driver unknown"


def _end_capture(stream: Any) -> None:
    """A capture that failed goes on until it is ended."""
    with suppress(Exception):
        stream.end_capture()


class _Trial:
    """One block of the model with numbers of its own, computed by products and by tile kernels."""

    def __init__(self, around: Surroundings, use_epilogues: UseEpilogues) -> None:
        self._around, self._cupy, self._precision = around, around.cupy, around.precision
        config = replace(around.model.config, num_blocks=1, drop_path=0.0)
        parameters = MlpMixer(config, backend=around.model.backend).parameters
        rng = np.random.default_rng(0)
        weights = (0.2 * rng.standard_normal(parameters.values.size)).astype(np.float32)
        parameters.values[...] = self._cupy.asarray(weights)
        self._parameters = parameters
        self.mixer = DeviceMixer(
            self._cupy, config, parameters, around.precision, around.images, around.multiprocessors
        )
        self._kernels = Kernels(self._cupy, [*self.mixer.launches.kernel_names, HOLD])
        self._products, _ = make_products(self._cupy, around.stream, around.precision)
        self.mixer.bind(self._kernels, self._products, self._cupy.empty(self.mixer.plan.nbytes, np.uint8))
        if around.precision.has_working_copy:
            self.mixer.working = self._cupy.asarray(_stored(weights, around.precision))
        for name in ("normed0", "normed1", "dx"):
            numbers = rng.standard_normal(self.mixer.buffers[name].shape).astype(np.float32)
            self._cupy.copyto(self.mixer.buffers[name], self._cupy.asarray(_stored(numbers, around.precision)))
        self._timer = DeviceTimer(self._cupy, around.stream, self._kernels.launch)
        self._epilogues = use_epilogues(self.mixer, self._kernels, self._products.capturable)

    def close(self) -> None:
        """Release the libraries' handles."""
        self._around.stream.synchronize()
        self._products.close()
        if self._epilogues is not None:
            self._epilogues.close()

    def better(self, kind: Kind, kernels: dict[str, TileKernel], timed: bool) -> str:
        """Which passes of an MLP should be tile kernels: "both", "backward" or "none".

        Raises TileError when they disagree with the products or cannot be captured, and whatever the driver raises.
        """
        mixer = self.mixer
        tiles = TileMlps(FusedMlps(**{kind: "both"}), kernels)
        tiles.reserve(self._cupy, 1, mixer.gradient_offset)

        def forward() -> None:
            mixer.run_mlp(kind, 0)

        def backward() -> None:
            mixer.run_mlp_gradient(kind, 0)

        forward_wanted, backward_wanted = self._results(kind, forward, backward)
        seconds = [self._timer.seconds(work) for work in (forward, backward)] if timed else []
        products, mixer.tiles = mixer.tiles, tiles
        try:
            found = self._results(kind, forward, backward)
            self._compare(kind, found, (forward_wanted, backward_wanted))
            if self._products.capturable:
                self._replay(kind, forward, backward, found)
            seconds += [self._timer.seconds(work) for work in (forward, backward)] if timed else []
        finally:
            mixer.tiles = products
        if not timed:
            return "both"
        ways = {
            "both": seconds[2] + seconds[3],
            "backward": seconds[0] + seconds[3],
            "none": seconds[0] + seconds[1],
        }
        return min(ways, key=lambda way: ways[way])

    def _results(
        self, kind: Kind, forward: Callable[[], None], backward: Callable[[], None]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Run both passes, as the mixer's tiles are set; their results on the host, by name."""
        forward()
        one = {"the output": self._read(self.mixer.buffers["branch"])}
        self._parameters.gradients.fill(0)
        backward()
        if not self.mixer.tiles.fused.backward(kind):  # the first bias's gradient is still in partial sums
            self.mixer.sums.finish(self._kernels, self._parameters.gradients)
        return one, self._gradients(kind)

    def _gradients(self, kind: Kind) -> dict[str, np.ndarray]:
        found = {"the input's gradient": self._read(self.mixer.buffers["branch"])}
        for name in ("weight1", "bias1", "weight2"):
            gradient = self._parameters.gradient(f"blocks.0.{kind}_mixing.{name}")
            found[f"{name}'s gradient"] = np.array(gradient.get(), np.float32)
        return found

    def _compare(
        self, kind: Kind, found: tuple[dict[str, np.ndarray], ...], wanted: tuple[dict[str, np.ndarray], ...]
    ) -> None:
        for one, other in zip(found, wanted, strict=True):
            for name, numbers in one.items():
                size = float(np.linalg.norm(other[name]))
                distance = float(np.linalg.norm(numbers - other[name]))
                if not distance <= AGREEMENT[self._precision.name] * size:  # NaN is no agreement either
                    raise TileError(
                        f"its {name[4:] if name.startswith('the ') else name} is off by {distance / size:.1%}"
                    )

    def _replay(
        self, kind: Kind, forward: Callable[[], None], backward: Callable[[], None],
        found: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    ) -> None:  # fmt: skip
        """Capture each pass in a CUDA graph, replay it, and compare the bits."""
        stream = self._around.stream
        for work, read, wanted in (
            (forward, lambda: {"the output": self._read(self.mixer.buffers["branch"])}, found[0]),
            (backward, lambda: self._gradients(kind), found[1]),
        ):
            stream.begin_capture()
            work()
            graph = stream.end_capture()
            graph.launch(stream)
            stream.synchronize()
            for name, numbers in read().items():
                if not np.array_equal(numbers, wanted[name]):
                    raise TileError(f"replayed from a CUDA graph, it gives another {name.removeprefix('the ')}")

    def _read(self, array: Any) -> np.ndarray:
        """The first numbers of a buffer in the activations' format, as float32 on the host."""
        flat = np.asarray(array.reshape(-1)[:COMPARED].get())
        if flat.dtype == np.uint16:  # bfloat16
            return (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.astype(np.float32)


def _stored(numbers: np.ndarray, precision: Precision) -> np.ndarray:
    """float32 numbers in the format of activations."""
    if precision.name == "bfloat16":
        return (round_to_bits(numbers, 16).view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(precision.storage)
