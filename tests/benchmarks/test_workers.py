"""The parts of `tinymixer bench`: models, counts, environments, failures, the stopwatch, the page of the CPU."""

import re
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cpu_table import markdown
from benchmarks.peers.batch import patches_first_batch
from tinymixer import MixerConfig, bench
from tinymixer.bench import peers as bench_peers
from tinymixer.bench import profile_layers
from tinymixer.bench.models import MODELS, default_batch, parse_model, step_bytes, step_flops
from tinymixer.bench.peers import peer_entries
from tinymixer.bench.profile_numpy import STAGES, Stopwatch
from tinymixer.bench.runner import Work, environment, own_entry
from tinymixer.bench.work import first_weights, loss_of
from tinymixer.engines import slicing
from tinymixer.errors import ConfigError
from tinymixer.models import ViTConfig, preset
from tinymixer.ops import softmax_cross_entropy

CONFIG = MODELS["nano"][0]


def test_models_by_name_and_by_sizes():
    assert parse_model("small/4") == MixerConfig(hidden_dim=512, tokens_mlp_dim=256, channels_mlp_dim=2048)
    assert parse_model("C=32, L=2") == MixerConfig(hidden_dim=32, num_blocks=2)
    assert parse_model("ViT-nano") == preset("ViT-nano")
    assert (default_batch("ViT-nano", "cpu"), default_batch("ViT-S/16", "cpu")) == (128, 16)


def test_counts_of_a_step():
    assert 2.5 < step_flops(CONFIG, 8) / step_flops(CONFIG, 8, forward=True) < 3
    residual_stream = 64 * 8 * 128 * 2
    assert step_bytes(CONFIG, 8, 2) == residual_stream * (8 * 83 + 8)  # the passes that docs/gpu.md counts
    assert step_bytes(CONFIG, 8, 2, forward=True) == residual_stream * (8 * 32 + 4)
    vit = preset("ViT-nano")
    assert step_flops(vit, 8, forward=True) == 2 * 8 * vit.multiply_adds  # counted layer by layer, and by a formula
    assert step_flops(vit, 8) == 2 * 8 * (3 * vit.multiply_adds - vit.num_tokens * vit.patch_features * vit.hidden_dim)
    assert step_bytes(vit, 8, 4) is None


def test_peers_are_there_for_some_architectures(monkeypatch):
    monkeypatch.setattr(bench_peers, "is_installed", lambda peer: True)
    assert [entry.module for entry in peer_entries(["torch-eager"], "resnet")] == ["benchmarks.peers.torch_resnet"]
    with pytest.raises(ConfigError, match="no vit to compare with for the peer 'jax': leave out --peer jax, or take"):
        peer_entries(["jax"], "vit")
    with pytest.raises(ConfigError, match="no bit to compare with for the peer 'torch-eager': leave out"):
        peer_entries(["torch-eager"], "bit")


def test_workers_get_their_threads_and_no_harmful_settings(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = environment(Work("nano", CONFIG, 4, "float32", "cpu", 2, False))
    assert not {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & set(found)
    assert found["OMP_NUM_THREADS"] == found["OPENBLAS_NUM_THREADS"] == "2"


def test_the_work_is_the_same_each_time_and_its_first_loss_says_something():
    weights = first_weights(CONFIG)
    assert weights["head.weight"].std() == pytest.approx(128**-0.5, rel=0.1)
    patches, labels = patches_first_batch(CONFIG, 4)
    assert patches.shape == (4, 64, 48)
    assert patches.dtype == np.float32
    logits = np.random.default_rng(3).standard_normal((4, 10))
    assert loss_of(logits, labels) == pytest.approx(float(softmax_cross_entropy(logits, labels)[0]))


def test_our_own_step_computes_in_float32_on_a_processor():
    assert own_entry(Work("nano", CONFIG, 4, "bfloat16", "cpu", 2, False)).precision == "float32"
    assert own_entry(Work("nano", CONFIG, 4, "bfloat16", "cuda", 2, False)).precision is None


def test_the_package_imports_nothing_from_the_benchmarks():
    """What is in the package works without a clone; only a worker imports a peer's module, by its name."""
    package = Path(bench.__file__).parents[1]
    for path in package.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) benchmarks", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_the_stopwatch_counts_nested_calls_once_and_puts_everything_back(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    watch = Stopwatch()
    inner = watch.timed("inner", lambda: now.__setitem__(0, now[0] + 2.0))
    watch.timed("outer", inner)()
    inner()
    assert watch.seconds == {"inner": 2.0, "outer": 2.0}
    before = [getattr(place, name) for _, place, names in STAGES for name in names]
    with watch.watching():
        pass
    assert before == [getattr(place, name) for _, place, names in STAGES for name in names]


def test_the_profile_of_another_model_is_by_operation():
    config = ViTConfig(image_size=8, hidden_dim=8, heads=2, channels_mlp_dim=16, num_blocks=1)
    before = slicing.sliced_operations
    rows = profile_layers.profile(config, 4, 2, False, 0.01)
    assert slicing.sliced_operations is before
    assert {"linear backward", "self attention forward", "gelu tanh forward"} < {row["name"] for row in rows}
    assert sum(row["milliseconds"] for row in rows[:-1]) == pytest.approx(rows[-1]["milliseconds"], rel=0.01)


def test_the_page_of_the_cpu():
    row = {"name": "tinymixer", "model": "nano", "batch": 128, "work": "training", "threads": 2,
           "version": "tinymixer 0", "images_per_second": 640.0, "step_milliseconds": 200.0,
           "teraflops": 0.05, "share_of_product_ceiling": 0.6,
           "share_of_copy_ceiling": 0.3, "peak_bytes": 2**27, "process_peak_bytes": 2**28}  # fmt: skip
    peer = row | {"name": "PyTorch eager", "images_per_second": 320.0, "process_peak_bytes": None}
    failed = row | {"name": "JAX jit", "images_per_second": None, "left_out": "no such instruction"}
    peer16 = peer | {"precision": "bfloat16"}
    assert "float32 (PyTorch eager in bfloat16), SGD" in markdown(
        {"cpu": {"name": "A", "cores": 2}}, [row, peer16], [], {}
    )
    stages = {"nano": [{"name": "GELU", "milliseconds": 20.0, "share": 0.1}]}
    page = markdown({"cpu": {"name": "A", "cores": 2}}, [row, peer, failed], [row], stages)
    assert "| tinymixer | 640.0 | 2.00 x | 200.0 | 0.050 | 60% | 30% | 128 | 256 |" in page
    assert "failed: no such instruction" in page
    assert "| nano | 128 | 2 | 200.0 | 1.562 | 640.0 |" in page
    assert "| GELU | 20.00 | 10.0% |" in page
    tables = [line for line in page.splitlines() if line.startswith("| nano | 128 | training")]
    assert len({line.count("|") for line in tables}) == 1
