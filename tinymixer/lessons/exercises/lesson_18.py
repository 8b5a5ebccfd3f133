"""Exercises of lesson 18: the learner's own functions train a network."""

import math
from types import SimpleNamespace

import numpy as np

from tinymixer import ops
from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.lessons.running import describe
from tinymixer.optim import SGD
from tinymixer.parameters import Parameters, ParameterSpec

# --- 18.1 ---

WEIGHTS = ("scale", "bias", "weight1", "bias1", "weight2", "bias2")


def _branch_inputs(generator):
    """dy, x (S, B, C) and the weights of a branch: all sizes different, then alike."""
    for tokens, images, channels, hidden in ((3, 2, 4, 5), (4, 4, 4, 4)):
        shapes = ((channels,), (channels,), (channels, hidden), (hidden,), (hidden, channels), (channels,))
        x = generator.normal(size=(tokens, images, channels))
        weights = {name: generator.normal(size=shape) for name, shape in zip(WEIGHTS, shapes, strict=True)}
        yield generator.normal(size=x.shape), x, weights


OTHERS = SimpleNamespace(  # GELU in its other form: an answer that calls the package's operations by name differs
    **vars(ops) | {"gelu_tanh_forward": ops.gelu_erf_forward, "gelu_tanh_backward": ops.gelu_erf_backward}
)


def _run_branch(forward, backward, dy, x, weights):
    f = OTHERS if len(x) == x.shape[-1] else ops  # in the second case
    y, cache = forward(x, weights, f)
    returned = backward(dy, cache, f)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"expected two results of backward, dx and a dict of gradients, got {describe(returned)}")
    dx, gradients = returned
    if not isinstance(gradients, dict):
        raise TypeError(f"expected a dict as the second result of backward, got {describe(gradients)}")
    if missing := [name for name in WEIGHTS if name not in gradients]:
        raise ValueError(f"the dict of gradients lacks {', '.join(missing)}")
    return (y, dx, *(gradients[name] for name in WEIGHTS))


def _forward(x, weights, f, norm=True, gelu=True, start=lambda x, normed: x):
    """The branch with switches for several mistakes."""
    normed, cache_norm = f.layer_norm_forward(x, weights["scale"], weights["bias"])
    hidden, cache1 = f.linear_forward(normed if norm else x, weights["weight1"], weights["bias1"])
    activated, cache_gelu = f.gelu_tanh_forward(hidden)
    branch, cache2 = f.linear_forward(activated if gelu else hidden, weights["weight2"], weights["bias2"])
    return start(x, normed) + branch, (cache_norm, cache1, cache_gelu, cache2)


def _backward(
    dy, cache, f, gelu=True, into_norm=lambda dy, dnormed: dnormed, into_sum=lambda dy, dbranch: dy + dbranch
):
    cache_norm, cache1, cache_gelu, cache2 = cache
    dactivated, dweight2, dbias2 = f.linear_backward(dy, cache2)
    dhidden = f.gelu_tanh_backward(dactivated, cache_gelu) if gelu else dactivated
    dnormed, dweight1, dbias1 = f.linear_backward(dhidden, cache1)
    dx, dscale, dbias = f.layer_norm_backward(into_norm(dy, dnormed), cache_norm)
    gradients = dict(zip(WEIGHTS, (dscale, dbias, dweight1, dbias1, dweight2, dbias2), strict=True))
    return into_sum(dy, dx), gradients


def _forward_with(**switches):
    return lambda x, weights, f: _forward(x, weights, f, **switches)


def _backward_with(**switches):
    return lambda dy, cache, f: _backward(dy, cache, f, **switches)


exercise(
    "18.1",
    "Half a block, from functions",
    ("my_branch_forward", "my_branch_backward"),
    reference=(_forward, _backward),
    cases=_branch_inputs,
    returns=("y", "dx", *(f"d{name}" for name in WEIGHTS)),
    call=_run_branch,
    mistakes=[
        Mistake(
            "y is the branch alone. A block adds what the branch computes to what went into it.",
            (_forward_with(start=lambda x, normed: 0), _backward),
        ),
        Mistake(
            "The normalised x is added to the branch. LayerNorm stands inside the branch only; the sum takes x as it "
            "came.",
            (_forward_with(start=lambda x, normed: normed), _backward),
        ),
        Mistake(
            "The branch lacks its LayerNorm: the first Linear reads x as it is.", (_forward_with(norm=False), _backward)
        ),
        Mistake(
            "The branch lacks GELU: two Linears without anything bent between them are one.",
            (_forward_with(gelu=False), _backward),
        ),
        Mistake(
            "dx lacks the direct path: y is x plus the branch, so dy reaches x once unchanged.",
            (_forward, _backward_with(into_sum=lambda dy, dbranch: dbranch)),
        ),
        Mistake(
            "dx is dy alone: what comes back through the branch is missing.",
            (_forward, _backward_with(into_sum=lambda dy, dbranch: dy)),
        ),
        Mistake(
            "LayerNorm's backward pass is given dy. By then the gradient has come back through both Linears and GELU.",
            (_forward, _backward_with(into_norm=lambda dy, dnormed: dy)),
        ),
        Mistake(
            "dy is added before LayerNorm's backward pass. The sum lies outside the branch: add it after the last "
            "step.",
            (
                _forward,
                _backward_with(into_norm=lambda dy, dnormed: dnormed + dy, into_sum=lambda dy, dbranch: dbranch),
            ),
        ),
        Mistake(
            "The backward pass leaves GELU out: the gradient of its output goes into the first Linear.",
            (_forward, _backward_with(gelu=False)),
        ),
        Mistake(
            "The package's operations are called by name, so your own would never be used. `f` says which operations "
            "to take: here another form of GELU.",
            (lambda x, weights, f: _forward(x, weights, ops), lambda dy, cache, f: _backward(dy, cache, ops)),
        ),
    ],
)


# --- 18.2 ---


def squared_distance(weights, batch):
    """Half the mean squared distance of A w from t, and its gradient with respect to w."""
    table, target = batch
    wrong = table @ weights - target
    return 0.5 * float(np.mean(wrong**2)), table.T @ wrong / len(target)


def _training_inputs(generator):
    """The function, first weights (n,), a list of batches, learning rate, momentum."""
    for count, momentum in ((3, 0.9), (5, 0.5), (1, 0.0)):
        batches = [(generator.normal(size=(4, 3)), generator.normal(size=4)) for _ in range(count)]
        yield squared_distance, generator.normal(size=3), batches, 0.1, momentum


def _by_the_package(loss_and_gradient, weights, batches, learning_rate, momentum):
    specification = {"w": ParameterSpec(weights.shape, lambda generator, shape: weights)}
    parameters = Parameters(specification, dtype="float64")
    optimizer, losses = SGD(parameters, momentum=momentum), []
    for batch in batches:
        loss, gradient = loss_and_gradient(parameters["w"], batch)
        parameters.gradient("w")[...] = gradient
        optimizer.step(learning_rate)
        losses.append(loss)
    return parameters["w"].copy(), losses


def _train(
    loss_and_gradient,
    weights,
    batches,
    learning_rate,
    momentum,
    *,
    grow=lambda velocity, gradient, momentum: momentum * velocity + gradient,
    gradient_at=lambda first, now: now,
    loss_after=False,
    kept=lambda velocity: velocity,
    sign=-1,
    looked_at=lambda batches: batches,
):
    """The loop with switches for several mistakes."""
    first, velocity, losses = weights, np.zeros_like(weights), []
    for batch in looked_at(batches):
        loss, gradient = loss_and_gradient(gradient_at(first, weights), batch)
        velocity = grow(kept(velocity), gradient, momentum)
        weights = weights + sign * learning_rate * velocity
        losses.append(loss_and_gradient(weights, batch)[0] if loss_after else loss)
    return weights, losses


def _train_with(**switches):
    return lambda *arguments: _train(*arguments, **switches)


def _run_training(function, loss_and_gradient, weights, batches, learning_rate, momentum):
    returned = function(loss_and_gradient, weights, list(batches), learning_rate, momentum)
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], list | tuple):
        return returned[0], np.array(returned[1], dtype=float)  # a list and an array of losses are both right
    return returned


exercise(
    "18.2",
    "The training loop",
    "my_training",
    reference=_by_the_package,
    cases=_training_inputs,
    returns=("weights", "losses"),
    call=_run_training,
    mistakes=[
        Mistake("The step goes uphill: the gradient points where the loss grows.", _train_with(sign=1)),
        Mistake(
            "Nothing is remembered from step to step: the velocity is missing, or it begins at zero in every step.",
            _train_with(kept=lambda velocity: 0 * velocity),
        ),
        Mistake(
            "Every gradient is taken at the first weights. After a step the next gradient belongs to the new ones.",
            _train_with(gradient_at=lambda first, now: first),
        ),
        Mistake(
            "The gradient enters the velocity with a factor 1 - momentum. In lesson 10's form it enters whole.",
            _train_with(grow=lambda velocity, gradient, momentum: momentum * velocity + (1 - momentum) * gradient),
        ),
        Mistake(
            "The old velocity is kept whole: it fades by the factor momentum in every step.",
            _train_with(grow=lambda velocity, gradient, momentum: velocity + gradient),
        ),
        Mistake(
            "This is Nesterov's rule. Here the plain one is asked for: the weights move along the velocity.",
            lambda *arguments: _nesterov(*arguments),
        ),
        Mistake(
            "The last batch is left out: every batch is worth a step.",
            _train_with(looked_at=lambda batches: batches[:-1]),
        ),
        Mistake(
            "The weights are right, the losses are those after the step. What a step reports is the loss that its "
            "gradient belongs to.",
            _train_with(loss_after=True),
        ),
    ],
)


def _nesterov(loss_and_gradient, weights, batches, learning_rate, momentum):
    velocity, losses = np.zeros_like(weights), []
    for batch in batches:
        loss, gradient = loss_and_gradient(weights, batch)
        velocity = momentum * velocity + gradient
        weights = weights - learning_rate * (gradient + momentum * velocity)
        losses.append(loss)
    return weights, losses


# --- 18.3 ---


def _curves(generator):
    """Two lists of losses and a tolerance: they part in the middle, at once, never, at a nan; one ends early."""
    losses = [float(loss) for loss in 2.3 * np.exp(-0.1 * np.arange(8)) + 0.01 * generator.random(8)]
    wiggled = [loss * (1 + 1e-7 * sign) for loss, sign in zip(losses, (1, -1) * 4, strict=True)]
    parted = [loss * (1.004 if index >= 4 else 1) for index, loss in enumerate(wiggled)]
    yield losses, parted, 1e-3
    yield losses, [loss * 0.99 for loss in losses], 1e-3
    yield losses, wiggled, 1e-5
    yield losses, [*wiggled[:5], math.nan, math.nan, math.nan], 1e-5
    yield losses, wiggled[:3], 1e-5
    small = [loss / 1000 for loss in losses]
    yield small, [*small[:6], small[6] * 1.002, small[7] * 1.02], 1e-3
    yield [0.5, 0.0, -0.5, -1.0], [0.5, 0.0, -0.50001, -1.01], 1e-3  # other losses than ours may be zero or negative


def _parting(losses, others, tolerance, *, first=1, size=abs, nan=True, sign=abs, none=0):
    for index, (loss, other) in enumerate(zip(losses, others, strict=False)):
        difference, allowed = sign(other - loss), tolerance * size(loss)
        if (not difference <= allowed) if nan else difference > allowed:
            return index + first
    return none


def _parting_divided(losses, others, tolerance):
    pairs = enumerate(zip(losses, others, strict=False), start=1)
    return next((step for step, (one, other) in pairs if not abs(other - one) / abs(one) <= tolerance), 0)


def _means(losses):
    return [float(np.mean(losses[: index + 1])) for index in range(len(losses))]


def _first_agreeing(losses, others, tolerance):
    pairs = enumerate(zip(losses, others, strict=False), start=1)
    return next((step for step, (one, other) in pairs if abs(other - one) <= tolerance * one), 0)


def _last_parting(losses, others, tolerance):
    pairs = enumerate(zip(losses, others, strict=False), start=1)
    return max((step for step, (one, other) in pairs if not abs(other - one) <= tolerance * one), default=0)


def _parting_with(**switches):
    return lambda losses, others, tolerance: _parting(losses, others, tolerance, **switches)


exercise(
    "18.3",
    "Where two curves part",
    "my_first_difference",
    reference=_parting,
    cases=_curves,
    returns="step",
    mistakes=[
        Mistake("Steps are counted from 1 here, and this counts from 0.", _parting_with(first=0)),
        Mistake(
            "The difference is compared with the tolerance itself. It is meant as a share of the loss, which falls by "
            "a factor of hundreds in a training.",
            _parting_with(size=lambda loss: 1),
        ),
        Mistake(
            "A nan is let through: every comparison with nan is False. How must the question be asked so that False "
            "means different?",
            _parting_with(nan=False),
        ),
        Mistake(
            "Only losses that are larger count here. One that is smaller differs as well: take the size of the "
            "difference.",
            _parting_with(sign=lambda difference: difference),
        ),
        Mistake(
            "Only losses that are smaller count here. One that is larger differs as well: take the size of the "
            "difference.",
            _parting_with(sign=lambda difference: -difference),
        ),
        Mistake(
            "The tolerance is multiplied by the loss itself. A loss may be negative: take its size.",
            _parting_with(size=lambda loss: loss),
        ),
        Mistake(
            "This divides by a loss, and a loss may be zero. How can the question be asked without a division?",
            lambda losses, others, tolerance: _parting_divided(losses, others, tolerance),
        ),
        Mistake(
            "Where the curves never part, this gives 1. (`np.argmax` finds place 0 in a row that is all False, too.) "
            "Ask first whether any step differs.",
            _parting_with(none=1),
        ),
        Mistake("Where the curves never part, 0 is asked for.", _parting_with(none=-1)),
        Mistake(
            "Where the curves never part, 0 is asked for.",
            lambda losses, others, tolerance: _parting(losses, others, tolerance, none=len(losses)),
        ),
        Mistake(
            "This is the last step that differs. The first one is asked for: leave the loop when you have found it.",
            lambda losses, others, tolerance: _last_parting(losses, others, tolerance),
        ),
        Mistake(
            "This is the first step that agrees. The first that differs is asked for.",
            lambda losses, others, tolerance: _first_agreeing(losses, others, tolerance),
        ),
        Mistake(
            "This answers after the first step, whatever it finds: 0 may come back only when all steps were looked at.",
            lambda losses, others, tolerance: _parting(losses[:1], others, tolerance),
        ),
        Mistake(
            "This compares means over the steps so far. One step's loss is to be compared with one step's loss.",
            lambda losses, others, tolerance: _parting(_means(losses), _means(others), tolerance),
        ),
        Mistake(
            "This walks on after the shorter list has ended. How does one walk over two lists as far as both go?",
            lambda losses, others, tolerance: _parting(losses, [others[i] for i in range(len(losses))], tolerance),
        ),
        Mistake(
            "This is the step with the largest difference. The first one that is too large is asked for.",
            lambda losses, others, tolerance: (
                1 + int(np.argmax([abs(one - other) for one, other in zip(losses, others, strict=False)]))
            ),
        ),
    ],
)
