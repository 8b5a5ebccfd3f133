"""Exercises of lesson 02: Linear, forward and backward."""

from tinymixer import ops
from tinymixer.gradcheck.planted_faults import linear
from tinymixer.lessons.exercise import Mistake, exercise


def _forward_inputs(generator):
    """x (B, I), weight (I, O), bias (O,): all sizes different, then all alike, then one image."""
    for images, inputs, outputs in ((4, 3, 2), (3, 3, 3), (1, 5, 2)):
        yield (
            generator.normal(size=(images, inputs)),
            generator.normal(size=(inputs, outputs)),
            generator.normal(size=outputs),
        )


def _backward_inputs(generator):
    """dy (B, O) and the cache (x, weight)."""
    for x, weight, _ in _forward_inputs(generator):
        yield generator.normal(size=(len(x), weight.shape[1])), (x, weight)


def _forward(x, weight, bias):
    return ops.linear_forward(x, weight, bias)[0]


def _bias_gradient(dy):
    return dy.sum(axis=0)


def _weight_gradient(dy, x):
    return x.T @ dy


exercise(
    "2.1",
    "Linear forward",
    "my_linear_forward",
    reference=_forward,
    cases=_forward_inputs,
    returns="y",
    mistakes=[
        Mistake(
            "The weight is transposed. weight is (I, O), so x @ weight is (B, I) times (I, O): no transposition is "
            "needed. (PyTorch stores it the other way round.)",
            lambda x, weight, bias: x @ weight.T + bias,
        ),
        Mistake("The bias is missing: add it to every row.", lambda x, weight, bias: x @ weight),
        Mistake(
            "The factors of the product are swapped. Each row of x is one image, and it is multiplied by weight from "
            "the right.",
            lambda x, weight, bias: weight @ x + bias,
        ),
        Mistake(
            "This is the element-by-element product, *. The matrix product is written @.",
            lambda x, weight, bias: x * weight + bias,
        ),
    ],
)

exercise(
    "2.2",
    "The bias gradient",
    "my_bias_gradient",
    reference=_bias_gradient,
    cases=lambda generator: ((dy,) for dy, _ in _backward_inputs(generator)),
    returns="dbias",
    mistakes=[
        Mistake(
            "The sum over the batch is missing: the same bias was added to every row, so the gradients of all rows add "
            "up.",
            lambda dy: dy,
        ),
        Mistake(
            "This is the mean over the batch. Every row adds its whole gradient: take the sum. (Where a loss is a "
            "mean, the 1/B is in dy already.)",
            lambda dy: dy.mean(axis=0),
        ),
        Mistake(
            "The sum runs over the outputs. The bias has one entry per output; sum over the images, axis 0.",
            lambda dy: dy.sum(axis=1),
        ),
        Mistake("This sums over everything. Each output has a bias of its own: keep axis 1.", lambda dy: dy.sum()),
    ],
)

exercise(
    "2.3",
    "Linear backward",
    "my_linear_backward",
    reference=ops.linear_backward,
    cases=_backward_inputs,
    returns=("dx", "dweight", "dbias"),
    mistakes=[
        Mistake(
            "dx uses weight where its transpose belongs. On the way back, dy comes in along O and dx goes out along I: "
            "which of the two shapes fits dy?",
            linear.weight_not_transposed_for_dx,
        ),
        Mistake(
            "dx uses weight where its transpose belongs: dy is (B, O) and weight (I, O), so the inner sizes do not "
            "match.",
            lambda dy, cache: (dy @ cache[1], None, None),
        ),
        Mistake(
            "dweight is transposed. It has the shape of weight, (I, O): rows belong to x, columns to dy.",
            linear.weight_gradient_transposed,
        ),
        Mistake(
            "dweight is transposed. It has the shape of weight, (I, O): rows belong to x, columns to dy.",
            lambda dy, cache: (dy @ cache[1].T, dy.T @ cache[0], dy.sum(axis=0)),
        ),
        Mistake(
            "dweight is an average over the batch. Every row passed through the same weight and adds its whole share.",
            lambda dy, cache: (dy @ cache[1].T, cache[0].T @ dy / len(dy), dy.sum(axis=0)),
        ),
        Mistake(
            "The sum over the batch is missing in dbias: every row shares the bias.", linear.bias_gradient_not_summed
        ),
        Mistake("dbias is the mean over the batch where the sum belongs.", linear.bias_gradient_averaged),
        Mistake("dx has the wrong sign.", linear.sign_flipped),
    ],
)

exercise(
    "2.4",
    "The same weight, used twice",
    "my_twice_backward",
    reference=lambda dy, cache: _twice_backward(dy, cache),
    cases=lambda generator: (
        (
            generator.normal(size=(images, size)),
            (generator.normal(size=(images, size)), generator.normal(size=(size, size))),
        )
        for images, size in ((4, 3), (3, 3))
    ),
    returns=("dx", "dweight"),
    mistakes=[
        Mistake(
            "dweight has only the share of the second use. weight was used twice, so two gradients arrive: add them.",
            lambda dy, cache: (_twice_backward(dy, cache)[0], (cache[0] @ cache[1]).T @ dy),
        ),
        Mistake(
            "dweight has only the share of the first use. weight was used twice, so two gradients arrive: add them.",
            lambda dy, cache: (_twice_backward(dy, cache)[0], cache[0].T @ (dy @ cache[1].T)),
        ),
        Mistake(
            "dx has passed through weight once. x went through it twice, so its gradient comes back through it twice.",
            lambda dy, cache: (dy @ cache[1].T, None),
        ),
        Mistake(
            "dweight uses x in both places. What entered the second product was hidden = x @ weight.",
            lambda dy, cache: (_twice_backward(dy, cache)[0], cache[0].T @ dy + cache[0].T @ (dy @ cache[1].T)),
        ),
    ],
)


def _twice_backward(dy, cache):
    """y = (x W) W: the gradients with respect to x and to W, whose two uses add up."""
    x, weight = cache
    hidden = x @ weight  # (B, I)
    dhidden = dy @ weight.T  # (B, I)
    return dhidden @ weight.T, hidden.T @ dy + x.T @ dhidden
