"""The pictures of the backward pass: their numbers are those of the package's operations and layers."""

import re

import numpy as np
import pytest

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.lessons.flow_pictures import block_steps, draw_block, token_mixing_steps

pytest.importorskip("matplotlib", reason="Matplotlib is not installed: pip install -e '.[dev]'")


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_tables_of_token_mixing_hold_the_numbers_of_the_package():
    rng = np.random.default_rng(0)
    x, weight, bias, dy = (rng.integers(-3, 4, shape) for shape in ((3, 4), (3, 2), (2,), (2, 4)))
    steps = token_mixing_steps(x, weight, bias, dy)
    y, cache = ops.token_linear_forward(x[:, None], weight.T, bias)  # (O, 1, C)
    dx, dweight, dbias = ops.token_linear_backward(dy[:, None], cache)
    expected = [x, x.T, weight, bias, y.T, y, dx, dx.transpose(), dweight, dbias, dy, dy.T]
    numbers = [text for text in texts(steps[-1][0]) if re.fullmatch(r"-?\d+", text)]
    assert sorted(numbers) == sorted(f"{number:g}" for table in expected for number in np.ravel(table))
    assert f"= {dweight[0, 0]:g}. And dbias" in steps[5][1]
    assert f"= {dx[0, 0, 0]:g}." in steps[6][1]


def test_a_number_is_drawn_once_it_is_known():
    steps = token_mixing_steps(np.ones((3, 4)), np.ones((3, 2)), np.ones(2), np.ones((2, 4)))
    counts = [sum(bool(re.fullmatch(r"-?\d+", text)) for text in texts(figure)) for figure, _ in steps]
    assert counts == [32, 40, 48, 56, 64, 72, 84, 96]


def test_the_gradient_that_leaves_the_block_is_that_of_the_package():
    config = MixerConfig(
        image_size=4, in_channels=1, patch_size=2, hidden_dim=6, tokens_mlp_dim=3, channels_mlp_dim=5, num_blocks=1
    )
    block = MlpMixer(config, dtype="float64").blocks[0]
    x, dy = np.random.default_rng(0).normal(size=(2, 4, 2, 6))  # (S, B, C) each
    steps = block_steps(block, x, dy)
    _, cache = block.forward(x)
    size = np.sqrt(np.mean(block.backward(dy, cache) ** 2))
    assert len(steps) == 9
    assert f"Shape (4, 2, 6), size {size:.2f}" in steps[-1][1]
    assert f"dx\nsize {size:.2f}" in texts(steps[-1][0])
    assert "dweight1 (3, 4), dbias1 (3,), dweight2 (4, 3) and dbias2 (4,)" in steps[6][1]
    assert not any("size" in text for text in texts(steps[0][0]) if not text.startswith("dy"))


def test_the_diagram_names_the_four_layers_and_the_shapes():
    said = texts(draw_block())
    assert {"token_norm", "token_mixing", "channel_norm", "channel_mixing"} <= set(said)
    assert said.count("(S, B, C)") == 3
