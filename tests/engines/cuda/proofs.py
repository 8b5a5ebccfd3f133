"""Proofs of small models on the stand-in GPU, and faults planted in what it computes."""

from contextlib import contextmanager
from unittest import mock

import numpy as np

from tests.kernels import emulator
from tests.kernels.fake_cupy import LAUNCHES
from tests.kernels.formats import packed, unpacked
from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.backend import CupyBackend
from tinymixer.data import Augmentation
from tinymixer.engines.cuda.self_proof import prove
from tinymixer.engines.engine import EngineOptions, Work
from tinymixer.optim import SGD

CONFIG = MixerConfig(
    image_size=8, patch_size=4, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=16, num_blocks=2, drop_path=0.3,
    dropout=0.2,
)  # fmt: skip
BATCH = 6
FORMATS = {np.dtype(np.uint16): "__nv_bfloat16", np.dtype(np.float16): "__half", np.dtype(np.float32): "float"}


def work_for(config, batch=BATCH, seed=0, **fields):
    rng = np.random.default_rng(seed)
    shape = (3 * batch, config.image_size, config.image_size, config.in_channels)
    colours = np.full(config.in_channels, 0.5), np.full(config.in_channels, 0.25)
    images, labels = rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, config.num_classes, 3 * batch)
    fields = {"augmentation": Augmentation(0, True, 0), "label_smoothing": 0.1} | fields
    return Work(images, labels, *colours, batch, **fields)


def optimizer_for(parameters, rule=SGD, **settings):
    return rule(parameters, weight_decay=0.1, clip_norm=0.5, **settings)


def proof_of(cupy, precision, config=CONFIG, rule=SGD, work=None, epilogues="never", **options):
    model = MlpMixer(config, backend=CupyBackend("cupy", cupy, ops))
    chosen = EngineOptions(precision=precision, **{"captured": False} | options)
    return prove(model, optimizer_for(model.parameters, rule), work or work_for(config), chosen, epilogues)


@contextmanager
def planted(kernel, change):
    """Let `change(arguments, before)` spoil what every launch of a kernel leaves; before: copies of the arguments."""
    launch = emulator.launch

    def spoiled(name, grid, block, arguments, *more):
        if not name.startswith(f"{kernel}<"):
            return launch(name, grid, block, arguments, *more)
        before = [np.array(argument) for argument in arguments]
        launch(name, grid, block, arguments, *more)
        change(arguments, before)
        return None

    with mock.patch.object(emulator, "launch", spoiled):
        yield


def scaled(output, by=1.05):
    """Multiply one output, where the kernel has written to it."""

    def change(arguments, before):
        array, old = arguments[output], before[output]
        if not isinstance(array, np.ndarray):  # a null pointer
            return
        values = unpacked(np.asarray(array), FORMATS[array.dtype])
        write(array, np.where(np.asarray(array) == old, values, values * np.float32(by)))

    return change


def assert_five_per_cent_are_found(kernel, output, prove):
    """`prove()` fails where an output of a kernel is 5 % too large."""
    with planted(kernel, scaled(output)):
        proof = prove()
    assert any(name.startswith(f"{kernel}<") for name in LAUNCHES)
    assert not proof.passed, proof.worst


def write(array, values):
    np.ndarray.__setitem__(array, ..., packed(values, FORMATS[array.dtype]))


def without_the_variance_term(arguments, before):
    """LayerNorm's backward pass without its third term, - x_hat mean(g x_hat)."""
    dn, _, x, scale, mean, inv_std = before[:6]
    if not dn.ndim:  # the last norm, whose gradient comes from the mean over tokens
        return
    dn, x = (unpacked(array, FORMATS[array.dtype]) for array in (dn, x))  # (rows, C)
    x_hat = (x - mean[:, None]) * inv_std[:, None]  # (rows, C)
    g = dn * scale  # (rows, C)
    term = inv_std[:, None] * x_hat * (g * x_hat).mean(axis=1, keepdims=True)  # (rows, C)
    dx = arguments[8]
    write(dx, unpacked(np.asarray(dx), FORMATS[dx.dtype]) + term)
