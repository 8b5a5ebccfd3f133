"""The state of a captured step, as `StepState` in `cuda/common.cuh` lays it out: same fields, same order."""

import numpy as np

STEP_STATE = np.dtype(
    [
        ("step", np.int64),
        ("updates", np.int64),
        ("good_steps", np.int64),
        ("correct", np.int64),
        ("images", np.int64),
        ("skipped", np.int64),
        ("failed_step", np.int64),
        ("averaged", np.int64),
        ("loss_sum", np.float64),
        ("loss_scale", np.float32),
        ("loss", np.float32),
        ("gradient_norm", np.float32),
        ("gradient_factor", np.float32),
        ("learning_rate", np.float32),
        ("mean_correction", np.float32),
        ("square_correction", np.float32),
        ("average_share", np.float32),
        ("skip", np.int32),
        ("average_due", np.int32),
    ]
)
