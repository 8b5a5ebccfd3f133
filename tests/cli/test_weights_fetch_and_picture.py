"""tinymixer weights list, fetch and picture, and export to ONNX, seen from outside."""

import dataclasses
import hashlib
import importlib.util
import types

import numpy as np
import pytest

from tests.data.mirror_server import Mirror, MirrorServer
from tinymixer.errors import install_line
from tinymixer.pretrained import catalogue

CONTENT = bytes(range(256)) * 200


def test_list_shows_all_and_what_one_should_know(tinymixer):
    text = tinymixer("weights", "list").out
    for name in catalogue.entries():
        assert name in text
    assert "the two are not swapped" in text
    assert "gated (SwiGLU)" in text
    rows = tinymixer("weights", "list", "--json").json
    assert len(rows) == len(catalogue.entries())
    one = tinymixer("weights", "list", "mixer-b16-imagenet1k").out
    assert "about 239,521,888 bytes" in one
    assert "recorded at the first fetch" in one
    assert "# Mixer on ImageNet-1k, by its authors" in one
    assert tinymixer("weights", "list", "mixer-b16").is_error("no published weights 'mixer-b16'", "Did you mean")


def test_fetch_prints_the_path_and_list_knows_it(tinymixer, monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TINYMIXER_WEIGHTS_MIRROR", raising=False)
    with MirrorServer() as server:
        server.mirrors["/file"] = Mirror(CONTENT)
        entry = dataclasses.replace(
            catalogue.entries()["mixer-s16-gsam"], url=server.url("/file"), about_bytes=len(CONTENT)
        )
        monkeypatch.setattr(catalogue, "_entries", lambda: types.MappingProxyType({entry.name: entry}))
        outcome = tinymixer("weights", "fetch", entry.name)
        path = tmp_path / "cache" / "weights" / "mixer-s16-gsam.npz"
        assert outcome.out.strip() == str(path)
        assert path.read_bytes() == CONTENT
        assert hashlib.sha256(CONTENT).hexdigest() in outcome.err
        assert tinymixer("weights", "list", "--json").json[0]["path"] == str(path)
        path.unlink()
        server.mirrors["/file"] = Mirror(CONTENT[::-1])
        outcome = tinymixer("weights", "fetch", entry.name)
        assert outcome.is_error("not the file that was fetched first", "delete", "record.json and fetch again")


def test_names_that_cannot_be_fetched(tinymixer):
    assert tinymixer("weights", "fetch", "gmixer_24_224.ra3_in1k").is_error("its MLPs are gated (SwiGLU)")
    assert tinymixer("weights", "fetch", "first-mixer").is_error("no published weights 'first-mixer'")


def test_picture(tinymixer, finished_run, tmp_path):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    outcome = tinymixer("weights", "picture", "first-mixer")
    assert outcome.out == "weights drawn in first-mixer-weights.png\n"
    picture = matplotlib_image.imread(tmp_path / "first-mixer-weights.png")
    assert picture.shape[1] > 2 * picture.shape[0]
    assert np.unique(picture[..., :3].reshape(-1, 3), axis=0).shape[0] > 500
    assert tinymixer("weights", "picture", finished_run, "--out", "run.png", "--blocks", "1").code == 0
    assert tinymixer("weights", "picture", finished_run, "--out", "run.jpg").is_error("a file name ending in .png")
    assert tinymixer("weights", "picture", "nothing.npz").is_error("there is no file of weights nothing.npz")


def test_onnx_is_written_or_the_missing_package_named(tinymixer, tmp_path):
    outcome = tinymixer("weights", "export", "first-mixer", "mixer.onnx")
    if importlib.util.find_spec("onnx") is None:
        assert outcome.is_error(f"writing ONNX needs the package onnx: {install_line('onnx')}")
        assert not (tmp_path / "mixer.onnx").exists()
    else:
        assert outcome.out == "mixer.onnx: 170,570 parameters, 0.7 MB\n"
    outcome = tinymixer("weights", "export", "first-mixer", "mixer.bin", "--format", "onnx")
    assert outcome.is_error("mixer.bin should end in .onnx")
