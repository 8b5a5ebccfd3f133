"""File names that are no UTF-8: what is printed of them can be printed anywhere."""

import json
import os
import shutil

import pytest

Image = pytest.importorskip("PIL.Image")


def test_runs_and_pictures_whose_names_are_no_text(tinymixer, finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd, picture = os.fsdecode(b"r\xffn"), os.fsdecode(b"\xfe.png")
    try:
        shutil.copytree(finished_run, odd)
        Image.new("L", (16, 16), 90).save(tmp_path / "a.png")
        os.link("a.png", picture)
    except OSError:
        pytest.skip("names are text here")
    for arguments in (["predict", odd, picture], ["plot", odd], ["eval", odd]):
        outcome = tinymixer(*arguments)
        assert outcome.code == 0
        outcome.out.encode("utf-8")
        outcome.err.encode("utf-8")
    assert json.loads(tinymixer("predict", odd, picture, "--json").out)[0]["image"] == "\\xfe.png"
    assert json.loads(tinymixer("eval", odd, "--json").out)["run"] == "r\\xffn"
