"""README's blocks of Python run as they are pasted, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs_when_it_is_pasted(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"README, block {number + 1}", "exec"), {"__name__": "pasted"})
    if "predict" in BLOCKS[number]:
        assert "Prediction(light" in capsys.readouterr().out


def test_the_layer_norm_shown_is_right():
    import numpy as np

    from tinymixer.ops import layer_norm_backward, layer_norm_forward

    pasted: dict = {}
    exec(BLOCKS[0], pasted)
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 4))
    _, cache = layer_norm_forward(x, np.arange(4.0), np.ones(4))
    for ours, shown in zip(layer_norm_backward(dy, cache), pasted["layer_norm_backward"](dy, cache), strict=True):
        np.testing.assert_allclose(shown, ours, rtol=1e-12)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
