"""The self-proof with Muon, parameter groups, averaged weights and an overlapping stem: what it finds and lets pass."""

import numpy as np
import pytest

from tests.engines.cuda.proofs import assert_five_per_cent_are_found, optimizer_for, planted, work_for
from tests.kernels.fake_cupy import LAUNCHES, fake_gpu
from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.backend import CupyBackend
from tinymixer.engines.cuda import device_muon
from tinymixer.engines.cuda.self_proof import prove
from tinymixer.engines.engine import EngineOptions
from tinymixer.optim import AdamW, Muon, ParameterGroup, WeightAverage

CONFIG = MixerConfig(
    image_size=8, patch_size=4, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=24, num_blocks=1, overlap=2
)
GROUPS = [
    ParameterGroup("stem.weight", frozen=True),
    ParameterGroup("blocks.0.channel_mixing.*", learning_rate_factor=0.5, weight_decay=0.3),
]


@pytest.fixture
def cupy(emulated, monkeypatch):
    monkeypatch.setattr("tinymixer.kernels.products.WORKSPACE_BYTES", 1024)  # the stand-in fills it, which takes time
    with fake_gpu() as module:
        yield module


def proof_of(cupy, precision, rule=Muon, captured=False, **settings):
    model = MlpMixer(CONFIG, backend=CupyBackend("cupy", cupy, ops))
    optimizer = optimizer_for(model.parameters, rule, groups=GROUPS, **settings)
    work = work_for(CONFIG, average=WeightAverage(model.parameters, 0.9, every=3))
    return prove(model, optimizer, work, EngineOptions(precision=precision, captured=captured), "never")


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_a_right_step_passes(cupy, precision):
    proof = proof_of(cupy, precision, captured=True, iterations=3 if precision == "tf32" else 5)
    assert proof.passed, proof.worst
    names = {comparison.name for comparison in proof.comparisons}
    assert "momentum of blocks.0.channel_mixing.weight1, step 2" in names
    assert "momentum of head.weight, step 2" not in names
    assert {f"{what} of stem.weight, step 2" for what in ("gradient", "update", "average")} <= names


def test_a_right_step_of_adamw_passes(cupy):
    assert proof_of(cupy, "bfloat16", AdamW).passed


OUTPUTS = [
    ("muon_momentum", 2), ("muon_polynomial", 3), ("muon_update", 2), ("muon_update", 4), ("average_weights", 1),
    ("adamw_update", 1), ("gather_patches", 3),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "output"), OUTPUTS)
def test_five_per_cent_in_any_kernel_are_found(cupy, kernel, output):
    assert_five_per_cent_are_found(kernel, output, lambda: proof_of(cupy, "bfloat16"))


def test_every_kernel_of_muon_is_among_them(cupy):
    """But `muon_begin`, whose result is divided by its own norm in theory: five per cent more change hardly a thing."""
    proof_of(cupy, "bfloat16")
    launched = {name.split("<")[0] for name in LAUNCHES if name.startswith(("muon", "average"))}
    assert launched - {"muon_begin"} <= {kernel for kernel, _ in OUTPUTS}


@pytest.mark.parametrize("wrong", ["an iteration too few", "a matrix in another's place", "no decay", "frozen moved"])
def test_mistakes_in_the_update_are_found(cupy, monkeypatch, wrong):
    stacks_of = device_muon.stacks_of

    def spoiled(optimizer):
        stacks, table, sizes = stacks_of(optimizer)
        if wrong == "a matrix in another's place":
            table["in_stacks"][:2] = table["in_stacks"][1::-1]
            table["tall"][:2] = 1 - table["tall"][:2]
        if wrong == "no decay":
            table["decay"] = 0
        return stacks, table, sizes

    monkeypatch.setattr(device_muon, "stacks_of", spoiled)
    if wrong == "an iteration too few":
        monkeypatch.setattr(device_muon, "ITERATIONS", {5: device_muon.ITERATIONS[5][:4]})
    if wrong == "frozen moved":
        with planted("adamw_update", lambda arguments, _: np.ndarray.__setitem__(arguments[1], 0, 1.0)):
            proof = proof_of(cupy, "bfloat16")
    else:
        proof = proof_of(cupy, "bfloat16")
    assert not proof.passed, proof.worst
