"""How each weight is updated, as the update kernels read it (`cuda/optimizer.cu`).

Parameters start at multiples of 16 elements, so one number for each 16 weights says which of a handful of settings they
have. That is half a byte of reading per weight less than a vector of decay strengths would take for SGD's update alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymixer.errors import ConfigError
from tinymixer.optim import Optimizer
from tinymixer.parameters.layout import ALIGNMENT

FROZEN, ELEMENTWISE, MATRIX = range(3)  # `Rule` in cuda/optimizer.cu

# `Setting` there: the same fields in the same order.
SETTING = np.dtype([("rate_factor", np.float32), ("decay", np.float32), ("rule", np.int32)])
MOST_SETTINGS = 1 << 16


@dataclass(frozen=True)
class UpdateSettings:
    """On the host.

    table   SETTING (n,), each different; the first is that of frozen parameters
    which   uint16 (size / 16,), the setting of each 16 weights
    """

    table: np.ndarray
    which: np.ndarray

    @classmethod
    def of(cls, optimizer: Optimizer) -> "UpdateSettings":
        """The settings of an optimizer's parameters."""
        parameters = optimizer.parameters
        which = np.zeros(parameters.values.size // ALIGNMENT, np.uint16)
        numbers: dict[tuple[float, float, int], int] = {(0.0, 0.0, FROZEN): 0}
        for name in parameters:
            setting, span = optimizer.setting_of(name), parameters.span_of(name)
            if setting is not None:
                rule = MATRIX if setting.matrix else ELEMENTWISE
                fields = (setting.learning_rate_factor, setting.weight_decay, rule)
                which[span.start // ALIGNMENT : span.stop // ALIGNMENT] = numbers.setdefault(fields, len(numbers))
        if len(numbers) > MOST_SETTINGS:
            raise ConfigError(f"parameter groups may make {MOST_SETTINGS} different settings, and these {len(numbers)}")
        return cls(np.array(list(numbers), SETTING), which)

    def on_device(self, cupy: Any) -> tuple[Any, Any]:
        """`which` and `table`, as the kernels take them: uint16 (size / 16,) and uint8 (n * bytes,)."""
        return cupy.asarray(self.which), cupy.asarray(self.table.view(np.uint8))
