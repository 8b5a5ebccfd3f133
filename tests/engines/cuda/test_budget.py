"""A budget of seconds on the captured GPU step: measuring leaves no trace there either."""

import pytest

from tests.engines.cuda.test_cuda_engine import dataset, gpu, recipe
from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.training.small_runs import assert_same_checkpoint
from tinymixer.training import Trainer, measuring
from tinymixer.training.budget import Budget
from tinymixer.training.stop import StopSignals

pytestmark = pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)


def test_measuring_leaves_no_trace_on_the_gpu(tmp_path, monkeypatch):
    """Float16's loss scale is part of what must come back."""
    monkeypatch.setattr(measuring, "try_to_draw_curves", lambda *arguments: None)
    monkeypatch.setattr(measuring, "STEPS", 2)
    monkeypatch.setattr(measuring, "WARM_UP", 1)
    options = {"optimizer": "adamw", "precision": "float16", "steps": 2, "validation_share": 0, "batch_size": 2}
    sizes = {"num_blocks": 1, "channels_mlp_dim": 8, "check_kernels": "never"}
    with gpu():
        for name in ("measured", "plain"):
            trainer = Trainer(recipe(backend="cupy", **options, **sizes), tmp_path / name, dataset())
            if name == "measured":
                with StopSignals() as trainer.stop:
                    assert measuring.measure(trainer, Budget(1.0)) is not None
            trainer.run()
            assert trainer.engine.name == "cuda"
    assert_same_checkpoint(tmp_path / "measured" / "last.npz", tmp_path / "plain" / "last.npz")
