"""The update of a captured step: norm of the gradients, clipping, loss scaling, the optimizer's rule, averaged weights.

The optimizers of `tinymixer.optim` hold the state and the settings, parameter groups included, and `WeightAverage` the
averaged weights. Here one kernel per optimizer updates their vectors in place, with numbers that it reads from device
memory, and a few more Muon's matrices (`device_muon.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinymixer.engines.cuda.device_muon import DeviceMuon
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.engines.cuda.update_settings import UpdateSettings
from tinymixer.errors import CheckpointError, ConfigError
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.precision import FIRST_LOSS_SCALE, Precision
from tinymixer.kernels.products import Products
from tinymixer.optim import SGD, AdamW, Muon, Optimizer, WeightAverage
from tinymixer.optim.averaging import RISE

GROWTH_INTERVAL = 2000  # good steps after which the loss scale doubles (Micikevicius et al. 2018; PyTorch's too)
WEIGHTS_PER_THREAD = 4
UPDATE_KERNELS: dict[type[Optimizer], str] = {SGD: "sgd_update", AdamW: "adamw_update", Muon: "adamw_update"}
SCALING = {
    "loss_scale": 2.0**-126,
    "good_steps": 0,
}  # the fields of the state that a resumed run needs, from their least

i32, i64, f32 = np.int32, np.int64, np.float32


class DeviceUpdate:
    """The state of a step and the launches that finish it.

    optimizer   SGD, AdamW or Muon over the model's parameters on this device; raises ConfigError for another
    average     of the same parameters, to be updated as `WeightAverage.step` says; None for none
    slots       for how many of the last steps `history`, a ring, keeps loss and norm

    The forward passes write into `losses` and `correct` (B,).
    """

    def __init__(
        self,
        cupy: Any,
        optimizer: Optimizer,
        precision: Precision,
        images: int,
        slots: int,
        multiprocessors: int,
        average: WeightAverage | None = None,
    ) -> None:
        if type(optimizer) not in UPDATE_KERNELS:  # a subclass has another rule
            raise ConfigError(f"the captured step knows SGD, AdamW and Muon, got {type(optimizer).__name__}")
        self._optimizer, self._precision, self._images, self.slots = optimizer, precision, images, slots
        self._size = int(optimizer.parameters.values.size)
        self.average = average
        self._settings = UpdateSettings.of(optimizer).on_device(cupy)
        self._muon = DeviceMuon(cupy, optimizer, precision) if isinstance(optimizer, Muon) else None
        self._squares_layout = layouts.squares(self._size, multiprocessors)
        self._layout = layouts.flat(self._size, WEIGHTS_PER_THREAD)
        self._squares = cupy.zeros(self._squares_layout.grid[0], np.float32)
        self.losses, self.correct = cupy.zeros(images, np.float32), cupy.zeros(images, np.int32)  # (B,) each
        self.history = cupy.zeros((slots, 2), np.float32)  # (slots, 2) loss, gradient norm
        self.device_state = cupy.zeros(STEP_STATE.itemsize, np.uint8)
        self.write(loss_scale=FIRST_LOSS_SCALE if precision.scaled else 1.0)
        self.take_counts()

    @property
    def kernel_names(self) -> list[str]:
        number = self._precision.number
        names = ["gradient_squares<float>", "settle_step<float>", f"{self._rule}<{number}>", f"copy_weights<{number}>"]
        names += [] if self._muon is None else self._muon.kernel_names
        return names + ([] if self.average is None else ["average_weights<float>"])

    @property
    def _rule(self) -> str:
        return UPDATE_KERNELS[type(self._optimizer)]

    def read(self) -> np.void:
        """The state, brought to the host: waits for everything launched so far."""
        return np.asarray(self.device_state.get()).view(STEP_STATE)[0]

    def write(self, **fields: Any) -> None:
        """Change some fields of the state."""
        state = np.asarray(self.device_state.get()).view(STEP_STATE).copy()
        for name, value in fields.items():
            state[name] = value
        self.device_state.set(state.view(np.uint8))

    def take_counts(self) -> None:
        """Take over how many updates the optimizer and the average have made, after they were loaded from outside."""
        self._averaged = 0 if self.average is None else self.average.updates
        self.write(updates=self._optimizer.steps, averaged=self._averaged, failed_step=0)

    def take_loaded_average(self) -> None:
        """Take over how often the average was updated, where it was loaded from outside since `tell_averaged`."""
        if self.average is not None and self.average.updates != self._averaged:
            self._averaged = self.average.updates
            self.write(averaged=self._averaged)

    def tell_averaged(self, state: np.void) -> None:
        """Tell the average how often it was updated, from a state that was brought to the host."""
        if self.average is not None:
            self._averaged = self.average.updates = int(state["averaged"])

    def state_dict(self) -> dict[str, np.ndarray]:
        """The loss scale and the updates since it last changed, where the loss is scaled. Waits for the steps."""
        if not self._precision.scaled:
            return {}
        state = self.read()
        return {name: np.array(state[name]) for name in SCALING}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned, as far as it is there. Raises CheckpointError for impossible values."""
        known = {name: state[name] for name in SCALING if name in state and self._precision.scaled}
        for name, value in known.items():
            if value.shape != () or value.dtype.kind not in "if" or not SCALING[name] <= value < float("inf"):
                raise CheckpointError(
                    f"the loss scaling's '{name}' should be one number of at least {SCALING[name]:g}, got {value}"
                )
        if known:
            self.write(**known)

    def settle(self, kernels: Kernels) -> None:
        """Compute the step's loss and gradient norm, and decide whether the step updates the weights."""
        optimizer = self._optimizer
        beta1, beta2 = optimizer.betas if isinstance(optimizer, AdamW) else (0.0, 0.0)
        every, forgotten = (0, 0.0) if self.average is None else (self.average.every, 1 - self.average.decay)
        kernels.launch(
            "gradient_squares<float>", self._squares_layout, optimizer.parameters.gradients, *self._settings,
            self._squares, i64(self._size),
        )  # fmt: skip
        kernels.launch(
            "settle_step<float>", layouts.one_block(), self.device_state, self._squares, i32(self._squares.size),
            self.losses, self.correct, i32(self._images), self.history, i32(self.slots),
            f32(optimizer.clip_norm or 0.0), i32(self._precision.scaled), i32(GROWTH_INTERVAL), f32(beta1), f32(beta2),
            i32(every), f32(forgotten), f32(RISE),
        )  # fmt: skip

    def update(self, kernels: Kernels, products: Products, working: Any) -> None:
        """Update weights, optimizer state, the working copy and, where it is due, the average.

        Nothing of it is done in a step that is to be skipped.
        """
        optimizer, parameters = self._optimizer, self._optimizer.parameters
        name = f"{self._rule}<{self._precision.number}>"
        copy = working if self._precision.has_working_copy else None
        if isinstance(optimizer, SGD):
            kernels.launch(
                name, self._layout, self.device_state, parameters.values, optimizer.state["velocity"],
                parameters.gradients, *self._settings, copy, f32(optimizer.momentum), i32(optimizer.nesterov),
                i32(optimizer.decoupled), i64(self._size),
            )  # fmt: skip
        elif isinstance(optimizer, AdamW):
            beta1, beta2 = optimizer.betas
            kernels.launch(
                name, self._layout, self.device_state, parameters.values, optimizer.state["mean"],
                optimizer.state["square"], parameters.gradients, *self._settings, copy, f32(beta1), f32(beta2),
                f32(optimizer.eps), i64(self._size),
            )  # fmt: skip

        if self._muon is not None:
            self._muon.update(kernels, products, self.device_state, copy)
        if self.average is not None:
            kernels.launch(
                "average_weights<float>", self._layout, self.device_state, self.average.values, parameters.values,
                i64(self._size),
            )  # fmt: skip

    def copy_weights(self, kernels: Kernels, working: Any) -> None:
        """Fill the working copy from the weights, where there is one."""
        if self._precision.has_working_copy:
            name = f"copy_weights<{self._precision.number}>"
            kernels.launch(name, self._layout, self._optimizer.parameters.values, working, i64(self._size))
