"""tinymixer bench: ours alone, the rows, the chart, the profile, bad input, workers that fail."""

import copy
import functools
import os
import sys

import pytest

from tinymixer.bench import peers as bench_peers
from tinymixer.bench import runner

TINY = ("--model", "C=16,DS=8,DC=32,L=1", "--batch", "4", "--threads", "1", "--seconds", "0.02", "--rounds", "2")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _harmful_setting(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")  # workers must not see it
    monkeypatch.setattr(runner, "PAUSE", 0.0)  # no speed is asserted here


@pytest.fixture
def measured_once(monkeypatch):
    """What is measured first is shown by all commands of the test."""
    for name in ("measure", "profile"):
        work = functools.partial(_kept, getattr(runner, name), {})
        monkeypatch.setattr(runner, name, work)


def _kept(measure, kept, *arguments):
    if not kept:
        kept["rows"] = measure(*arguments)
    return copy.deepcopy(kept["rows"])


def test_ours_alone_as_a_table_and_a_chart(tinymixer, tmp_path):
    outcome = tinymixer("bench", *TINY, "--out", tmp_path / "speed.png")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "C=16,DS=8,DC=32,L=1, training, batch 4, float32, 1 thread"
    assert any(line.startswith(" tinymixer ") and "1.00 x" in line for line in lines)
    assert "of the first steps 2." in outcome.out
    assert (tmp_path / "speed.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("forward", [(), ("--forward",)])
def test_json_is_a_list_of_rows_with_ours_first(tinymixer, forward):
    (row,) = tinymixer("bench", *TINY, *forward, "--json").json
    assert row["name"] == "tinymixer"
    assert row["images_per_second"] == pytest.approx(4e3 / row["step_milliseconds"])
    assert (row["batch"], row["threads"], row["precision"]) == (4, 1, "float32")
    assert row["work"] == ("forward" if forward else "training")
    assert len(row["step_milliseconds_of_turns"]) == 2
    assert row["share_of_product_ceiling"] > 0
    assert row["share_of_copy_ceiling"] > 0
    assert len(row["first_losses"]) == 3
    assert row["processor_milliseconds"] > 0
    if sys.platform == "linux":
        assert 0 < row["peak_bytes"] < row["process_peak_bytes"]
    first, second, third = row["first_losses"]
    assert first == second == third if forward else first > second > third  # one batch, over and over


def test_the_profile_accounts_for_the_whole_step(tinymixer, measured_once):
    rows = tinymixer("bench", *TINY, "--profile", "--json").json
    whole = rows[-1]
    assert whole["name"] == "whole step"
    assert {"matrix products", "GELU", "LayerNorm", "update", "loss"} < {row["name"] for row in rows}
    assert sum(row["milliseconds"] for row in rows[:-1]) == pytest.approx(whole["milliseconds"], rel=0.01)
    assert "matrix products" in tinymixer("bench", *TINY, "--profile").out


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("--model", "nanu"), ("unknown model 'nanu'", "Did you mean 'nano'?")),
        (("--model", "C=big"), ("size C", "'big'")),
        (("--model", "D=3"), ("no size 'D'", "DS, DC")),
        (("--model", "P=5"), ("patch_size 5 does not divide",)),
        (("--batch", "0"), ("--batch", "0")),
        (("--precision", "bfloat16", "--backend", "numpy"), ("--precision bfloat16 needs a GPU",)),
        (("--profile", "--precision", "bfloat16", "--backend", "numpy"), ("NumPy computes in float32", "--peer")),
        (
            ("--precision", "tf32", "--backend", "numpy", "--peer", "torch"),
            ("--precision tf32 needs a GPU", "bfloat16"),
        ),
        (("--threads", "9999", "--backend", "numpy"), ("choose --threads from 1 to",)),
        (("--out", "speed.jpg"), (".png", "speed.jpg")),
        (("--profile", "--peer", "torch"), ("leave out --peer",)),
        (("--peer", "torhc"), ("'torhc'", "torch-eager")),
        (("--model", "ViT-nano", "--peer", "jax"), ("no vit to compare with for the peer 'jax'", "--peer torch")),
        (("--rounds", "0"), ("--rounds",)),
        (("--no-deterministic", "--backend", "numpy"), ("always have a fixed order", "--backend cupy")),
    ],
)
def test_bad_input_gets_a_sentence(tinymixer, arguments, fragments):
    assert tinymixer("bench", *arguments).is_error(*fragments)


def test_a_peer_that_is_not_installed_and_peers_without_the_repository(tinymixer, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_peers, "is_installed", lambda peer: False)
    assert tinymixer("bench", *TINY, "--peer", "jax").is_error("peer 'jax' is not installed: pip install jax")
    monkeypatch.setattr(bench_peers, "is_installed", lambda peer: True)
    monkeypatch.setattr(bench_peers, "_repository", lambda: tmp_path)
    assert tinymixer("bench", *TINY, "--peer", "jax").is_error("the peers are in the repository", "clone it")


def test_a_peer_that_fails_is_a_row_that_says_so(tinymixer, tmp_path, monkeypatch, measured_once):
    (tmp_path / "broken_peer.py").write_text("def make_step(*work):\n    raise RuntimeError('no such instruction')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    broken = bench_peers.Entry("Broken", "broken_peer")
    monkeypatch.setattr("tinymixer.cli.bench.peer_entries", lambda peers, architecture: [broken])
    own, row = tinymixer("bench", *TINY, "--peer", "jax", "--json").json
    assert own["images_per_second"] > 0
    assert row["images_per_second"] is None
    assert row["left_out"] == "RuntimeError: no such instruction"
    outcome = tinymixer("bench", *TINY, "--peer", "jax", "--out", tmp_path / "speed.png")
    assert outcome.code == 0
    assert "Broken failed: RuntimeError: no such instruction" in outcome.out


def test_on_a_processor_bfloat16_is_for_the_peers_and_the_output_says_so(
    tinymixer, tmp_path, monkeypatch, measured_once
):
    """A peer that answers with the precision it was asked for, as its version."""
    (tmp_path / "told_peer.py").write_text(
        "def make_step(config, batch, precision, device):\n"
        "    global asked\n"
        "    asked = f'asked for {precision}'\n"
        "    return lambda steps: 2.3\n"
        "def versions():\n"
        "    return asked\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    told = bench_peers.Entry("Told", "told_peer")
    monkeypatch.setattr("tinymixer.cli.bench.peer_entries", lambda peers, architecture: [told])
    arguments = ("bench", *TINY, "--peer", "torch", "--precision", "bfloat16", "--backend", "numpy")
    own, row = tinymixer(*arguments, "--json").json
    assert (own["precision"], row["precision"], row["version"]) == ("float32", "bfloat16", "asked for bfloat16")
    assert own["first_losses"][0] > own["first_losses"][1]
    page = tinymixer(*arguments).out
    assert page.startswith("C=16,DS=8,DC=32,L=1, training, batch 4, bfloat16 (ours float32), 1 thread")
    assert "Told in bfloat16; tinymixer in float32" in " ".join(page.split())


def test_a_file_of_the_users_own_does_not_stand_in_for_a_module(tinymixer, tmp_path, monkeypatch):
    (tmp_path / "statistics.py").write_text("raise RuntimeError('mine')\n")
    monkeypatch.chdir(tmp_path)
    assert tinymixer("bench", *TINY, "--json").json[0]["images_per_second"] > 0


@pytest.mark.peers
@pytest.mark.parametrize("forward", [(), ("--forward",)])
def test_peers_in_bfloat16_do_about_the_same_work(tinymixer, forward):
    installed = [peer for peer in ("torch-eager", "jax") if bench_peers.is_installed(peer)]
    if not installed:
        pytest.skip("neither PyTorch nor JAX is installed")
    arguments = [word for peer in installed for word in ("--peer", peer)]
    own, *rows = tinymixer("bench", *TINY, *arguments, *forward, "--precision", "bfloat16", "--json").json
    assert own["precision"] == "float32"
    for row in rows:
        assert row["agrees"], row
        assert row["loss_difference"] > 1e-7, "this is float32"


@pytest.mark.peers
@pytest.mark.timeout(600)  # torch.compile and XLA take their time on a busy machine
def test_peers_do_the_same_work(tinymixer):
    installed = [peer for peer in ("torch", "jax") if bench_peers.is_installed(peer)]
    if not installed:
        pytest.skip("neither PyTorch nor JAX is installed")
    arguments = [word for peer in installed for word in ("--peer", peer)]
    for forward in ((), ("--forward",)):
        rows = tinymixer("bench", *TINY, *arguments, *forward, "--json").json
        assert rows[0]["name"] == "tinymixer"
        assert len(rows) >= 1 + len(installed)
        for row in rows:
            assert row["images_per_second"] is not None, row
            assert row["loss_difference"] < 1e-4
