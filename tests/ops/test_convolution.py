"""convolution: every window of an image with the same kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer import ops
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_operation
from tinymixer.ops import sliding

RNG = np.random.default_rng(2)


@settings(deadline=None, max_examples=40)
@given(
    image=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
)
def test_it_is_what_four_loops_would_find(image, kernel, stride, padding):
    x, weight, bias = RNG.standard_normal((2, *image, 3)), RNG.standard_normal((*kernel, 3, 2)), RNG.standard_normal(2)
    framed = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    down, across = ((framed.shape[axis] - kernel[axis - 1]) // stride + 1 for axis in (1, 2))
    if min(down, across) < 1:
        with pytest.raises(ShapeError, match="does not fit into an image"):
            ops.convolution_forward(x, weight, bias, stride, padding)
        return
    expected = np.empty((2, down, across, 2))
    for u in range(down):
        for v in range(across):
            window = framed[:, u * stride : u * stride + kernel[0], v * stride : v * stride + kernel[1]]
            expected[:, u, v] = np.tensordot(window, weight, 3) + bias
    y, cache = ops.convolution_forward(x, weight, bias, stride, padding)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    dy = RNG.standard_normal(y.shape)
    dx, dweight, dbias = ops.convolution_backward(dy, cache)
    assert np.sum(dy * (y - bias)) == pytest.approx(np.sum(dx * x), abs=1e-9)  # it is linear in x, and in the weight
    assert np.sum(dy * (y - bias)) == pytest.approx(np.sum(dweight * weight), abs=1e-9)
    np.testing.assert_allclose(dbias, dy.sum(axis=(0, 1, 2)), rtol=1e-12, atol=1e-12)


def test_with_stride_1_dx_is_a_convolution_with_the_kernel_turned():
    x, weight = RNG.standard_normal((2, 5, 6, 3)), RNG.standard_normal((3, 3, 3, 4))
    y, cache = ops.convolution_forward(x, weight, padding=1)
    dy = RNG.standard_normal(y.shape)
    turned = weight[::-1, ::-1].transpose(0, 1, 3, 2)
    np.testing.assert_allclose(
        ops.convolution_backward(dy, cache)[0],
        ops.convolution_forward(dy, turned, padding=1)[0],
        rtol=1e-11,
        atol=1e-12,
    )


def test_a_kernel_of_the_size_of_a_patch_is_the_stem_of_a_mixer():
    images, weight = RNG.standard_normal((2, 8, 8, 3)), RNG.standard_normal((4, 4, 3, 5))
    patches = ops.images_to_patches_forward(images, 4)[0]  # (S, B, P*P*channels)
    y = ops.convolution_forward(images, weight, stride=4)[0]
    np.testing.assert_allclose(
        y.reshape(2, 4, 5).transpose(1, 0, 2), patches @ weight.reshape(-1, 5), rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("bias", [None, RNG.standard_normal(4)])
def test_the_gradient_is_right(bias):
    x, weight = RNG.standard_normal((2, 5, 4, 2)), RNG.standard_normal((3, 2, 2, 4))
    check_operation(
        ops.convolution_forward, ops.convolution_backward, x, weight, bias, 2, 1, vary=False
    ).raise_if_failed()


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 1, 1), (3, 1, 0), (2, 1, 1), (1, 1, 0), (1, 2, 0), (2, 1, 2)]
)
def test_the_gradient_is_right_by_either_way_back(size, stride, padding):
    """With stride 1 from the columns of dy, unless the border is wider than a window; else from those of x."""
    x, weight = RNG.standard_normal((2, 4, 3, 2)), RNG.standard_normal((size, size, 2, 3))
    check_operation(
        ops.convolution_forward, ops.convolution_backward, x, weight, None, stride, padding, vary=False
    ).raise_if_failed()


def test_groups_of_images_give_what_the_whole_batch_gives(monkeypatch):
    x, weight, bias = RNG.standard_normal((5, 4, 4, 2)), RNG.standard_normal((3, 3, 2, 3)), RNG.standard_normal(3)
    whole, cache = ops.convolution_forward(x, weight, bias, 1, 1)
    gradients = ops.convolution_backward(whole, cache)
    monkeypatch.setattr(sliding, "CACHE", 2 * 16 * 18 * 8)  # two images' columns: groups of 2, 2 and 1
    y, cache = ops.convolution_forward(x, weight, bias, 1, 1)
    np.testing.assert_allclose(y, whole, rtol=1e-12, atol=1e-12)
    for ours, expected in zip(ops.convolution_backward(whole, cache), gradients, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11)


def test_without_bias_there_is_no_gradient_of_one():
    _, cache = ops.convolution_forward(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 2)))
    assert len(ops.convolution_backward(np.ones((1, 1, 1, 2)), cache)) == 2


def test_what_does_not_fit_is_said():
    x, weight = np.ones((2, 4, 4, 3)), np.ones((3, 3, 3, 5))
    with pytest.raises(ShapeError, match=r"expected x of shape \(B, height, width, I\) with I=3, got \(2, 4, 4, 2\)"):
        ops.convolution_forward(x[..., :2], weight)
    with pytest.raises(ShapeError, match=r"expected weight of shape \(kh, kw, I, O\)"):
        ops.convolution_forward(x, weight[0])
    with pytest.raises(ShapeError, match=r"expected bias of shape \(O,\) with O=5"):
        ops.convolution_forward(x, weight, np.ones(3))
    with pytest.raises(ShapeError, match="a window of 3 x 3 pixels does not fit into an image of 2 x 4 with padding 0"):
        ops.convolution_forward(x[:, :2], weight)
    for stride, padding in ((0, 0), (1, -1)):
        with pytest.raises(ShapeError, match=f"got windows of 3 x 3, stride {stride}, padding {padding}"):
            ops.convolution_forward(x, weight, None, stride, padding)
    _, cache = ops.convolution_forward(x, weight)
    with pytest.raises(ShapeError, match="expected dy of shape"):
        ops.convolution_backward(np.ones((2, 4, 4, 5)), cache)
