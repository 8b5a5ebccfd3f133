"""Decides, one by one, which parts of the channel MLP are fused into its products (`kernels/epilogues.py`).

    forward         bias and GELU in the first product's epilogue
    gelu_gradient   GELU's gradient in the epilogue of the product before it. It needs z with its bias, which only the
                    fused forward pass writes, and leaves no place for dropout's backward pass.
    bias_gradient   the bias's gradient in the epilogue of the weight gradient's product; otherwise `column_sums` adds
                    up what a fused GELU gradient wrote. It overwrites gradients, so a batch may have one part only.

Each has an alternative in kernels of our own and is measured against it by itself: a slow one does not hide a fast one.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinymixer.kernels.epilogues import Epilogues
from tinymixer.kernels.timing import DeviceTimer
from tinymixer.kernels.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tinymixer.engines.cuda.device_mixer import DeviceMixer


@dataclass
class FusedProducts:
    """Which epilogues a step uses."""

    forward: bool = False
    gelu_gradient: bool = False
    bias_gradient: bool = False


def choose_fused_products(
    mixer: "DeviceMixer", epilogues: Epilogues, timer: DeviceTimer, tuning: Tuning | None
) -> FusedProducts:
    """Fuse what is faster, or without `tuning` all that is possible; the mixer must have its kernels and memory.

    To measure, it runs the first block's launches a few times, on whatever the buffers hold. Without `tuning` it raises
    RuntimeError or `epilogues.error` when cuBLASLt cannot fuse; with it, such a product stays separate.
    """
    return _Choice(mixer, epilogues, timer, tuning).make()


class _Choice:
    def __init__(self, mixer: "DeviceMixer", epilogues: Epilogues, timer: DeviceTimer, tuning: Tuning | None) -> None:
        self.mixer, self.epilogues, self.timer, self.tuning = mixer, epilogues, timer, tuning

    def make(self) -> FusedProducts:
        mixer, fused = self.mixer, self.mixer.fused
        with self._one_stream():
            fused.forward = self._faster("forward", lambda: mixer.channel_hidden(0))
            if fused.forward and not mixer.config.dropout and not mixer.tiles.fused.backward("channel"):
                fused.gelu_gradient = True  # while its companion is measured
                fused.bias_gradient = mixer.parts == 1 and self._faster(
                    "bias_gradient", lambda: mixer.channel_first_gradients(0)
                )
                fused.gelu_gradient = self._faster("gelu_gradient", lambda: self._hidden_and_first_gradients())
            if not fused.gelu_gradient:
                fused.bias_gradient = False  # the GELU kernel sums it in passing
        return fused

    def _hidden_and_first_gradients(self) -> None:
        """What the choice of GELU's gradient changes: without it, its kernel sums the bias's gradient too."""
        fused = self.mixer.fused
        chosen, fused.bias_gradient = fused.bias_gradient, fused.bias_gradient and fused.gelu_gradient
        self.mixer.channel_hidden_gradient(0)
        self.mixer.channel_first_gradients(0)
        fused.bias_gradient = chosen

    def _faster(self, which: str, work: Callable[[], Any]) -> bool:
        """Whether `work` is faster with that epilogue, from `tuning` or timed now."""
        if self.tuning is None:
            return True
        config, mixer = self.mixer.config, self.mixer
        key = f"fused {which} {config.hidden_dim} {config.channels_mlp_dim} {mixer.rows} {mixer.precision.name}"
        if self.tuning.get(key) is None:
            setattr(mixer.fused, which, False)
            separate = self.timer.seconds(work)
            setattr(mixer.fused, which, True)
            try:
                together = self.timer.seconds(work)
            except (RuntimeError, self.epilogues.error):
                return False
            self.tuning.put(key, "yes" if together <= separate else "no")
        return self.tuning.get(key) == "yes"

    @contextmanager
    def _one_stream(self) -> "Iterator[None]":
        """Measure without the second stream, which would hide a part of the work."""
        weight_stream, self.mixer.weight_stream = self.mixer.weight_stream, None
        try:
            yield
        finally:
            self.mixer.weight_stream = weight_stream
