"""A whole training step on the GPU, recorded once as a CUDA graph and replayed.

A step of nano is some 175 launches of a few microseconds each. Recorded in a graph, they follow each other without the
host, which only draws the random numbers of coming steps and starts replays. The graph contains nothing that changes
from step to step: a step reads its images, crops, masks' key and learning rate from a ring on the device
(`staging.py`), its counters from `StepState`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np

from tinymixer.backend import Backend
from tinymixer.data import Augmentation, cache_folder
from tinymixer.data.views import AS_IT_IS, View
from tinymixer.engines.cuda.device_batch import DeviceBatch
from tinymixer.engines.cuda.device_mixer import DeviceMixer
from tinymixer.engines.cuda.device_ranks import DeviceRanks
from tinymixer.engines.cuda.device_update import DeviceUpdate
from tinymixer.engines.cuda.memory_plan import BatchTooLargeError, out_of_memory, plan_activations
from tinymixer.engines.cuda.staging import StepNumbers, draw_steps, pack_choices
from tinymixer.engines.cuda.step_results import StepResults
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.engines.cuda.tile_choice import Surroundings, TileChoice, choose_tiles
from tinymixer.engines.cuda.tile_mlps import TileMlps
from tinymixer.engines.cuda.weight_stream import WeightStream
from tinymixer.engines.engine import Step, Totals
from tinymixer.errors import ConfigError
from tinymixer.kernels.epilogues import Epilogues
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.precision import get_precision
from tinymixer.kernels.products import Products, make_products
from tinymixer.kernels.timing import HOLD, DeviceTimer
from tinymixer.kernels.tuning import Tuning
from tinymixer.models import MlpMixer
from tinymixer.optim import Optimizer, WeightAverage
from tinymixer.parallel.ranks import ONE_RANK, Ranks

SLOTS = 64  # steps in the ring: the host may be up to this far ahead


class CapturedStep:
    """Trains a model on the GPU, with the training images resident there.

    model, optimizer   on a CuPy backend, in float32; both are updated in place
    pixels, labels     uint8 (N, height, width, colours) and integers (N,), on the host
    mean, std, fill    per colour: of pixels scaled to 0..1; the colour of cutout boxes in pixel values
    average            of the model's weights, updated in the steps that it is due; None for none
    precision          "float32", "tf32", "bfloat16" or "float16"
    captured           False launches kernel by kernel, with the same result
    micro_batches      number of equal parts in which a batch is computed, to save memory
    ranks              share out the batch: `batch_size` is the whole batch's, the step's own images are a part of it
    recompute          use less memory and more time: see `plan_activations`
    epilogues          whether the channel MLP's GELU is fused into its products: "measured" (where that is faster on
                       this machine), "always" or "never"
    tiles              whether MLPs are fused into tile kernels: "measured" (where they agree with the products and are
                       faster on this machine), "always" (where they agree) or "never"
    two_streams        compute gradients of weights beside the rest, on a stream of their own, with the same result

    `note` says why a step that should be captured is not, and `tiles` which MLPs are tile kernels. Raises ConfigError
    for parts that do not divide the batch and BatchTooLargeError, naming a batch size that fits, when the GPU's memory
    is too small.
    """

    def __init__(
        self,
        model: MlpMixer,
        optimizer: Optimizer,
        pixels: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        micro_batches: int = 1,
        mean: Any,
        std: Any,
        fill: Any = 0,
        augmentation: Augmentation | None = None,
        label_smoothing: float = 0.0,
        precision: str = "float32",
        captured: bool = True,
        deterministic: bool = True,
        recompute: bool = False,
        epilogues: str = "measured",
        tiles: str = "measured",
        two_streams: bool = True,
        slots: int = SLOTS,
        ranks: Ranks = ONE_RANK,
        average: WeightAverage | None = None,
    ) -> None:
        backend: Backend = model.backend
        whole_batch, share = batch_size, ranks.part(batch_size)
        batch_size, self._share = share.stop - share.start, share  # this rank's
        if micro_batches < 1 or batch_size % micro_batches:
            raise ConfigError(f"micro_batches must divide the batch of {batch_size} images, got {micro_batches}")
        if model.parameters.dtype != np.float32:
            raise ConfigError(f"the fused training step keeps weights in float32, got {model.parameters.dtype}")
        self._cupy = cupy = backend.xp
        self._model, self._optimizer = model, optimizer
        augmentation = augmentation or Augmentation(0, False, 0)
        self._label_smoothing, self._precision = label_smoothing, get_precision(precision)
        self.batch_size, config = batch_size, model.config
        device = cupy.cuda.Device()
        multiprocessors = int(device.attributes["MultiProcessorCount"])
        # A blocking stream: work on the default stream (loading or saving weights) then waits for the steps launched
        # before it, and later steps wait for that work.
        self.stream = cupy.cuda.Stream()
        self._graph: Any = None
        self._epilogues: Epilogues | None = None
        self._more_products: list[Products] = []
        free = _free_bytes(cupy)
        images = batch_size // micro_batches
        self.tiles = self._choose_tiles(tiles, epilogues, images)
        chosen = self.tiles.tiles
        plan = plan_activations(config, images, self._precision, recompute, chosen.fused)
        if plan.nbytes > free:  # before anything else is made
            raise BatchTooLargeError(
                out_of_memory(config, batch_size, self._precision, free, recompute, micro_batches, chosen.fused)
            )
        try:
            with self.stream:
                self._mixer = DeviceMixer(
                    cupy, config, model.parameters, self._precision, images, multiprocessors, micro_batches,
                    recompute, deterministic, chosen, share.start, whole_batch,
                )  # fmt: skip
                self._update = DeviceUpdate(
                    cupy, optimizer, self._precision, whole_batch, slots, multiprocessors, average
                )
                self._ranks = DeviceRanks(cupy, ranks, share, self._update, model.parameters)
                self._results = StepResults(cupy, self.stream, self._update, optimizer)
                self._batch = DeviceBatch(
                    cupy, self.stream, slots, pixels, labels, fill, mean, std, augmentation, config, self._precision,
                    images, micro_batches, batch_size < whole_batch,
                )  # fmt: skip
                self._products, self.note = make_products(cupy, self.stream, self._precision)
                if two_streams and self._products.capturable:
                    self._mixer.weight_stream = self._second_stream()
                free = _free_bytes(cupy)
                pool = cupy.empty(self._mixer.plan.nbytes, np.uint8)
        except cupy.cuda.memory.OutOfMemoryError as error:
            message = out_of_memory(config, batch_size, self._precision, free, recompute, micro_batches, chosen.fused)
            raise BatchTooLargeError(message) from error
        names = [*self._mixer.launches.kernel_names, *self._update.kernel_names, *self._batch.kernel_names, HOLD]
        self._kernels = Kernels(cupy, names)
        self._mixer.bind(self._kernels, self._products, pool)
        self.refresh()
        self._epilogues = self._fuse_products(self._mixer, self._kernels, epilogues, self._products.capturable)
        self.captured = captured and self._products.capturable and self._ranks.capturable
        self.note = (self.note or self._ranks.note) if captured else None

    def _second_stream(self) -> WeightStream | None:
        """A stream for the gradients of weights, with a cuBLAS handle of its own: a handle has one stream."""
        stream = self._cupy.cuda.Stream()
        products, obstacle = make_products(self._cupy, stream, self._precision)
        if obstacle is not None:
            return None
        self._more_products.append(products)
        return WeightStream(self._cupy, self.stream, stream, products.multiply)

    def _choose_tiles(self, choice: str, epilogues: str, images: int) -> TileChoice:
        """The MLPs that are computed by tile kernels: where they are wanted and can be."""
        if choice == "never":
            return TileChoice(TileMlps())
        around = Surroundings(self._cupy, self.stream, self._model, self._precision, images)
        with self.stream:
            return choose_tiles(
                around,
                self._tuning(choice),
                lambda mixer, kernels, capturable: self._fuse_products(mixer, kernels, epilogues, capturable),
            )

    def _tuning(self, choice: str) -> Tuning | None:
        """What was measured on this machine; None where nothing is to be measured."""
        device = self._cupy.cuda.runtime.getDeviceProperties(self._cupy.cuda.Device().id)["name"]
        name = "".join(c if c.isalnum() else "-" for c in device.decode())
        return Tuning(cache_folder() / "tuning" / f"{name}.json") if choice == "measured" else None

    def _fuse_products(self, mixer: DeviceMixer, kernels: Kernels, choice: str, capturable: bool) -> Epilogues | None:
        """Take products with epilogues where they are allowed, possible and wanted."""
        config, precise = self._model.config, self._precision.name == "float32"
        fits = config.hidden_dim % 16 == 0 and config.channels_mlp_dim % 16 == 0
        if choice == "never" or precise or config.gelu != "tanh" or not fits or not capturable:
            return None
        tuning = self._tuning(choice)
        with self.stream:
            try:
                timer = DeviceTimer(self._cupy, self.stream, kernels.launch)
                epilogues = Epilogues(self._cupy, self.stream, self._precision, timer, tuning)
            except (RuntimeError, MemoryError):
                return None
            # with "measured", products that cannot be fused stay separate
            with suppress(RuntimeError, epilogues.error) if choice == "measured" else nullcontext():
                mixer.use_epilogues(epilogues, timer, tuning)
        return epilogues

    # ------------------------------------------------------------------------------------------ training

    @property
    def free_slots(self) -> int:
        """How many more steps can be staged now."""
        return self._batch.ring.free_slots

    def draw(self, steps: Sequence[Step], seed: int) -> list[StepNumbers]:
        """The numbers of steps to come, for `stage`."""
        batch = self._batch
        return draw_steps(steps, batch.augmentation, seed, self._share, batch.shape, batch.pack)

    def stage(self, steps: list[StepNumbers]) -> None:
        """Hand over the numbers of steps to come, in order; at most `free_slots`."""
        self._batch.ring.stage(steps)

    def run(self, steps: int = 1) -> None:
        """Start the next `steps` staged steps; returns before the GPU has finished them."""
        with self.stream:
            if self.captured and self._graph is None:
                self._record_if_possible()
            for _ in range(steps):
                if self._graph is not None:
                    self._graph.launch(self.stream)
                else:
                    self._launch()
                self._batch.ring.take()

    def _launch(self) -> None:
        self._compute_gradients()
        self._update.update(self._kernels, self._products, self._mixer.working)

    def _compute_gradients(self) -> None:
        """Everything of a step but the update."""
        mixer, update, batch = self._mixer, self._update, self._batch
        batch.begin(self._kernels, update.device_state, mixer.key)
        mixer.draw_branches()
        self._ranks.clear()
        for part in range(mixer.parts):
            these = slice(part * mixer.images, (part + 1) * mixer.images)
            batch.forward(mixer, self._kernels, part)
            mixer.loss(
                batch.targets(part), update.device_state, self._label_smoothing, self._ranks.losses[these],
                self._ranks.correct[these],
            )  # fmt: skip
            mixer.backward()
        self._ranks.add_up()
        update.settle(self._kernels)

    def _record_if_possible(self) -> None:
        """Record a step. Where the libraries cannot be recorded, launch step by step and say why in `note`."""
        errors = self._products.errors + (() if self._epilogues is None else (self._epilogues.error,))
        errors += self._ranks.errors
        try:
            self._graph = self._record()
        except errors as error:
            with suppress(RuntimeError):  # a failed capture has no graph, and goes on until it is ended
                self.stream.end_capture()
            self.captured = False
            self.note = f"the step could not be captured in a CUDA graph: {str(error).strip() or type(error).__name__}"
        if not self._ranks.all_captured(self._graph is not None) and self._graph is not None:
            self._graph, self.captured = None, False
            self.note = "another rank could not capture the step in a CUDA graph, so none replays one"

    def _record(self) -> Any:
        """Record the launches of one step.

        Libraries load code and allocate memory on first use, which is forbidden while recording. So everything runs
        once before that, on the first staged numbers, with the update switched off; then the state is restored.
        """
        before = self._update.read().copy()
        self._compute_gradients()
        self._update.write(skip=1)
        self._update.update(self._kernels, self._products, self._mixer.working)
        self._update.write(**{name: before[name] for name in STEP_STATE.names or ()})
        self.stream.synchronize()
        self.stream.begin_capture()
        self._launch()
        return self.stream.end_capture()

    # ------------------------------------------------------------------------------------------ results

    def later(self) -> Callable[[], Totals]:
        """A function that returns the totals of the steps started since the last call: see `StepResults.later`."""
        return self._results.later()

    def totals(self) -> Totals:
        """The totals of the steps started since the last call. Waits for them; raises TrainingError as `later` says."""
        return self._results.later()()

    @property
    def state(self) -> np.void:
        """The step's counters (`STEP_STATE`), brought to the host: waits for the steps started so far."""
        with self.stream:
            return self._update.read()

    def recent(self, steps: int) -> np.ndarray:
        """Loss and gradient norm of the last steps: see `StepResults.recent`."""
        return self._results.recent(steps)

    def refresh(self) -> None:
        """Update the device's copies after weights, optimizer state or an average were loaded from outside."""
        with self.stream:
            self._update.take_counts()
            self._update.copy_weights(self._kernels, self._mixer.working)
            self.stream.synchronize()

    def take_loaded_average(self) -> None:
        """Take over an average that was loaded from outside, before the first step after that."""
        with self.stream:
            self._update.take_loaded_average()

    def state_dict(self) -> dict[str, np.ndarray]:
        """The loss scaling, for a checkpoint: see `DeviceUpdate.state_dict`."""
        with self.stream:
            return self._update.state_dict()

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take the loss scaling over from a checkpoint. Raises CheckpointError for a value that cannot be."""
        with self.stream:
            self._update.load_state_dict(state)
            self.stream.synchronize()

    # ------------------------------------------------------------------------------------------ evaluation

    @property
    def training_pixels(self) -> Any:
        """The training images on the GPU, for `logits`."""
        return self._batch.pixels

    def resident(self, images: np.ndarray) -> Any:
        """Images (N, height, width, colours) uint8, copied to the GPU once, for `logits`."""
        with self.stream:
            return self._cupy.asarray(np.ascontiguousarray(images))

    def logits(self, pixels: Any, indices: np.ndarray, view: View = AS_IT_IS) -> np.ndarray:
        """The model's logits for a view of some resident images, in the step's precision: float32 (len(indices), K)."""
        batch, count = self._mixer.images, len(indices)
        padded = np.zeros(-(-count // batch) * batch, np.int64)  # the last batch is padded
        padded[:count] = indices
        records = pack_choices(padded, view.choices(len(padded)), self._model.config.image_size, 0)  # (padded, 6)
        with self.stream:
            choices = self._cupy.asarray(records)
            rows = self._cupy.zeros((len(padded), self._model.config.num_classes), np.float32)  # (padded, K)
            for start in range(0, len(padded), batch):
                these = choices[start : start + batch]
                self._mixer.forward(pixels, these, self._batch.colours, view.padding, 0, train=False)
                rows[start : start + batch] = self._mixer.buffers["logits"]
            return np.asarray(rows.get())[:count]

    def close(self) -> None:
        """Wait for the GPU and release the libraries' handles."""
        self.stream.synchronize()
        self._graph = None
        for products in (self._products, *self._more_products):
            products.close()
        if self._epilogues is not None:
            self._epilogues.close()


def _free_bytes(cupy: Any) -> int:
    """Bytes free on the device, those that CuPy's memory pool holds unused included."""
    return int(cupy.cuda.Device().mem_info[0]) + int(cupy.get_default_memory_pool().free_bytes())
