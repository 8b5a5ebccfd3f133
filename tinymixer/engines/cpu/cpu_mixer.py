"""The whole Mixer on an ordinary processor: the batch in slices, the slices on threads."""

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinymixer.draws import Draws
from tinymixer.engines.cpu.buffer_pool import BufferPool
from tinymixer.engines.cpu.cache import largest_cache
from tinymixer.engines.cpu.folding import FoldedWeights
from tinymixer.engines.cpu.gelu import FORMS
from tinymixer.engines.cpu.gradient_accumulator import GradientAccumulator, add_up_blocks, add_up_stem_and_head
from tinymixer.engines.cpu.masks import NOTHING_DROPPED, BlockMasks, draw_masks
from tinymixer.engines.cpu.slices import SliceSize, choose_slice
from tinymixer.engines.cpu.stack import BlockStack
from tinymixer.engines.cpu.threads import ThreadTeam, default_threads
from tinymixer.engines.cpu.workspace import Workspace
from tinymixer.engines.engine import EngineOptions, Work
from tinymixer.engines.host_engine import HostEngine
from tinymixer.errors import ConfigError
from tinymixer.models import Model
from tinymixer.models.mlp_mixer import MlpMixer
from tinymixer.models.stock import difference_from_stock
from tinymixer.ops import softmax_cross_entropy
from tinymixer.optim import Optimizer
from tinymixer.optim.chunks import ParallelMap

KNOWN_VARIANTS = ("overlap",)  # of `MixerConfig.variants`
FOLDED_BYTES = 24 << 20  # of folded weights that a forward pass keeps at a time


class CpuMixer(HostEngine):
    """Computes what `model` computes, from the same parameters and into the same gradients, but faster.

    model          an MlpMixer on NumPy
    threads        Python threads; 0 takes one per core (`default_threads`)
    slice_images   images in a slice; 0 takes as many as suit the cache (`slice_size` says how many and why)

    Four ideas; the rest is bookkeeping.

    1.  Slices. Some images of the batch at a time go forward and backward, in buffers that are used again for every
        slice (`workspace.py`, `buffer_pool.py`): no page faults, and a branch's activations stay in the cache.
    2.  Threads. One Python thread per core, each with its own slices, buffers and gradient vector; BLAS uses one
        thread. NumPy releases the interpreter lock in every call. The threads' gradients are added in a fixed
        order, so the same seed, slices and number of threads give the same bits.
    3.  Folding. LayerNorm's scale and bias, its centring forward and backward, the bias of channel mixing and GELU's
        constants are put into the weights, once a step (`folding.py`).
    4.  Few passes. The code between the products passes over the activations as few times as NumPy allows (`gelu.py`,
        `layer_norm.py`).

    Raises ConfigError for any other model, see `why_not`, and for negative numbers.
    """

    name = "cpu"

    def __init__(self, model: MlpMixer, threads: int = 0, slice_images: int = 0) -> None:
        obstacle = why_not(model)
        if obstacle is not None:
            raise ConfigError(f"the cpu engine cannot compute this model: {obstacle}")
        for name, value in (("threads", threads), ("slice_images", slice_images)):
            if value < 0:
                raise ConfigError(f"{name} must be 0 (choose for me) or more, got {value}")
        self.model: MlpMixer = model
        self.threads = threads or default_threads()
        dtype = model.parameters.dtype
        asked_for = SliceSize(slice_images, slice_images, "as asked for")
        self.slice_size = asked_for if slice_images else choose_slice(model.config, dtype.itemsize, largest_cache())
        self._gelu = FORMS[model.config.gelu]
        self._stack = BlockStack(model)
        self._team = ThreadTeam(self.threads)
        self.parallel_map: ParallelMap = self._team.parallel_map  # for the optimizer
        # Filled when they are first needed: evaluation needs less than training.
        self._folded: Any = None  # FoldedWeights
        self._accumulators: list[GradientAccumulator] = []
        self._workspaces: dict[tuple[int, int, bool], Workspace] = {}
        self._pools = [BufferPool(dtype) for _ in range(self.threads)]

    @classmethod
    def make(cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None) -> "CpuMixer":
        assert isinstance(model, MlpMixer)
        return cls(model, options.threads, options.slice_images).prepared(optimizer, work)

    @classmethod
    def obstacle(
        cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None
    ) -> str | None:
        if options.precision not in ("auto", "float32"):
            return f"precision '{options.precision}' belongs to the cuda engine"
        if "reference" in (options.kernels, model.backend.kernels):
            return "--kernels reference asks for the generic operations"
        return why_not(model)

    @property
    def arithmetic(self) -> dict[str, Any]:
        return {"engine": self.name, "threads": self.threads, "slice_images": self.slice_size.images}

    @property
    def description(self) -> str:
        size, threads = self.slice_size, self.threads
        return f"in slices of {size.images} images ({size.reason}) on {threads} thread{'' if threads == 1 else 's'}"

    def logits(self, images: np.ndarray) -> np.ndarray:
        """images (B, height, width, in_channels), normalised  ->  logits (B, K)"""
        model, config = self.model, self.model.config
        model.check_images(images)
        shares, dtype = self._shares(len(images), self.slice_size.forward_images), model.parameters.dtype
        logits = np.empty((len(images), config.num_classes), dtype)  # (B, K)
        # All slices of a large model go through one group of blocks before the next group is folded, so that only one
        # group's folded weights take memory. Groups cost time: threads wait for each other after each.
        at_once = max(self.threads, FOLDED_BYTES // FoldedWeights.forward_bytes(config, dtype.itemsize))
        groups = [slice(*pair) for pair in _cut(0, self._stack.count, -(-self._stack.count // at_once))]
        between_groups = np.empty((len(images), config.num_tokens, config.hidden_dim) if len(groups) > 1 else 0, dtype)

        def work(thread: int, slices: list[slice], group: slice) -> None:
            for part in slices:
                ws = self._workspace(thread, part.stop - part.start, train=False)
                if group.start == 0:
                    ws.stem.forward(self._folded, images[part])
                else:
                    np.copyto(ws.x, between_groups[part].reshape(ws.x.shape))
                for folded in self._folded.blocks[: group.stop - group.start]:
                    ws.token_mixing[0].forward(folded, NOTHING_DROPPED)
                    ws.channel_mixing[0].forward(folded, NOTHING_DROPPED)
                if group.stop == self._stack.count:
                    logits[part] = ws.head.forward(model.pre_head_layer_norm.parameters, model.head.parameters)
                else:
                    np.copyto(between_groups[part].reshape(ws.x.shape), ws.x)

        busy = [thread for thread, share in enumerate(shares) if share]
        for group in groups:
            self._fold(group, backward=False)
            if len(busy) == 1:  # a single image
                self._team.run_on_one(partial(work, group=group), busy[0], shares[busy[0]])
            else:
                self._team.run(partial(work, group=group), shares)
        return logits

    def loss_and_gradients(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        label_smoothing: float = 0.0,
        rng: Draws | None = None,
        share: float = 1.0,
    ) -> tuple[float, int]:
        """Forward, loss and backward; the parameters' gradients, times share, are added to the model's.

        images (B, height, width, in_channels), labels (B,) or (B, K)  ->  mean loss, images classified correctly
        """
        self.model.check_images(images)
        self._fold(slice(0, self._stack.count), backward=True)
        self._accumulators = self._accumulators or [GradientAccumulator(self.model) for _ in range(self.threads)]
        count = len(images)

        def work(thread: int, slices: list[slice]) -> tuple[float, int]:
            accumulator, loss, correct = self._accumulators[thread], 0.0, 0
            accumulator.empty = True
            for part in slices:
                ws = self._workspace(thread, part.stop - part.start, train=True)
                draws = None if rng is None else rng.part(part)
                part_masks = draw_masks(self.model, part.stop - part.start, draws)
                logits = self._forward(ws, images[part], part_masks)
                part_loss, dlogits = softmax_cross_entropy(logits, labels[part], label_smoothing)
                weight = len(logits) / count
                loss += float(part_loss) * weight
                target = labels[part] if labels.ndim == 1 else np.argmax(labels[part], axis=1)  # (n,)
                correct += int(np.sum(np.argmax(logits, axis=1) == target))
                self._backward(ws, dlogits * (weight * share), part_masks, accumulator)
            return loss, correct

        results = self._team.run(work, self._shares(count, self.slice_size.images))
        self._add_up()
        return sum(loss for loss, _ in results), sum(correct for _, correct in results)

    def _forward(self, ws: Workspace, images: np.ndarray, masks: Sequence[BlockMasks]) -> np.ndarray:
        """A slice's images (n, height, width, in_channels)  ->  logits (n, K)"""
        model = self.model
        ws.stem.forward(self._folded, images)
        for i, (token_masks, channel_masks) in enumerate(masks):
            folded = self._folded.blocks[i]
            ws.token_mixing[i].forward(folded, token_masks)
            ws.channel_mixing[i].forward(folded, channel_masks)
        return ws.head.forward(model.pre_head_layer_norm.parameters, model.head.parameters)

    def _backward(
        self,
        ws: Workspace,
        dlogits: np.ndarray,
        masks: Sequence[BlockMasks],
        accumulator: GradientAccumulator,
    ) -> None:
        """dlogits (n, K); the slice's gradients are added to the thread's."""
        model = self.model
        ws.head.backward(dlogits, model.pre_head_layer_norm.parameters, model.head.parameters, accumulator)
        for i in reversed(range(len(masks))):
            folded, gradients, (token_masks, channel_masks) = self._folded.blocks[i], accumulator.blocks[i], masks[i]
            ws.channel_mixing[i].backward(folded, gradients, accumulator, channel_masks)
            ws.token_mixing[i].backward(folded, gradients, accumulator, token_masks)
        ws.stem.backward(accumulator)
        accumulator.empty = False

    def _workspace(self, thread: int, images: int, train: bool) -> Workspace:
        """A thread's workspace for slices of `images` images. It uses one at a time, so all share the same memory."""
        key = (thread, images, train)
        if key not in self._workspaces:
            self._pools[thread].rewind()
            self._workspaces[key] = Workspace(self.model.config, images, self._pools[thread], train)
        return self._workspaces[key]

    def _fold(self, blocks: slice, backward: bool) -> None:
        """Fold the stem's weights, and those of some blocks (a slice) into the first of `self._folded.blocks`."""
        model, stack, count = self.model, self._stack, blocks.stop - blocks.start
        if self._folded is None or self._folded.count < count:
            self._folded = FoldedWeights(model.config, count, self._gelu, model.parameters.dtype)
        if backward:
            self._folded.prepare_backward()
        self._folded.fold_stem(model.stem.parameters)

        def work(thread: int, shares: list[slice]) -> None:
            for places in shares:
                source = slice(blocks.start + places.start, blocks.start + places.stop)
                self._folded.fold_blocks(stack.views(model.parameters.values, source), places, backward)

        self._team.run(work, self._shares(count, stack.at_once))

    def _add_up(self) -> None:
        """Add the threads' gradients, in the threads' order and unfolded, to the model's."""
        accumulators = [accumulator for accumulator in self._accumulators if not accumulator.empty]
        parameters, stack = self.model.parameters, self._stack

        def work(thread: int, shares: list[slice]) -> None:
            for blocks in shares:
                add_up_blocks(accumulators, parameters, stack, blocks, self._gelu)

        self._team.run(work, self._shares(stack.count, stack.at_once))
        add_up_stem_and_head(accumulators, parameters)

    def _shares(self, count: int, at_once: int) -> list[list[slice]]:
        """Share out `count` things: a list of slices for each thread, of about equal length, at most `at_once`."""
        shares = []
        for start, stop in _cut(0, count, self.threads):
            parts = -(-(stop - start) // at_once)
            shares.append([slice(*pair) for pair in _cut(start, stop, parts)])
        return shares


def why_not(model: Model) -> str | None:
    """Why this engine cannot compute the model; None for a stock MlpMixer on NumPy with tokens = "mlp"."""
    if model.backend.xp is not np:
        return f"it is for NumPy, and the model computes with {model.backend.name}"
    if type(model) is not MlpMixer:
        return f"it was written for MlpMixer, and this is {type(model).__name__}"
    if model.config.tokens != "mlp":
        return f"it was written for tokens = 'mlp', and these are mixed by '{model.config.tokens}'"
    unknown = [f"{name} = {value}" for name, value in model.config.variants.items() if name not in KNOWN_VARIANTS]
    if unknown:
        return f"it does not know {' and '.join(unknown)}"
    return difference_from_stock(model)


def _cut(start: int, stop: int, parts: int) -> Iterable[tuple[int, int]]:
    """Split start to stop into `parts` ranges whose lengths differ by at most one."""
    return itertools.pairwise(start + (stop - start) * i // parts for i in range(parts + 1)) if parts else ()
