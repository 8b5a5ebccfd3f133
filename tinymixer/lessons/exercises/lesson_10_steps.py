"""Exercises 10.1 to 10.3: a step of gradient descent, with momentum, and Nesterov's."""

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.optim import SGD
from tinymixer.parameters import Parameters, ParameterSpec


def _sgd(weights, velocity, gradient, learning_rate, **settings):
    """One step of the package's SGD  ->  weights and velocity after it, copies of the shape that came in."""
    spec = ParameterSpec(weights.shape, lambda generator, shape: weights)
    parameters = Parameters({"w": spec}, dtype=weights.dtype)
    parameters.gradient("w")[...] = gradient
    optimizer = SGD(parameters, decay="all", **settings)
    kept = parameters.views_of(optimizer.state["velocity"])["w"]
    kept[...] = velocity
    optimizer.step(learning_rate)
    return parameters["w"].copy(), kept.copy()


def _vectors(generator, count):
    """So many vectors of one length: several lengths, then float32, then a single weight."""
    for size, dtype in ((5, "float64"), (3, "float64"), (4, "float32"), (1, "float64")):
        yield [generator.normal(size=size).astype(dtype) for _ in range(count)]


# 10.1 ---------------------------------------------------------------------------------------------------------------


def _sgd_step(weights, gradient, learning_rate):
    return _sgd(weights, 0.0, gradient, learning_rate, momentum=0.0)[0]


exercise(
    "10.1",
    "A step of gradient descent",
    "my_sgd_step",
    reference=_sgd_step,
    cases=lambda generator: ((*vectors, 0.3) for vectors in _vectors(generator, 2)),
    returns="weights",
    mistakes=[
        Mistake(
            "This goes uphill. The gradient points to where the loss grows. A step goes the other way.",
            lambda weights, gradient, learning_rate: weights + learning_rate * gradient,
        ),
        Mistake(
            "The learning rate is missing: the step is as long as the gradient.",
            lambda weights, gradient, learning_rate: weights - gradient,
        ),
        Mistake(
            "This is the step alone. Return the weights after it.",
            lambda weights, gradient, learning_rate: -learning_rate * gradient,
        ),
        Mistake(
            "This is the step alone, and uphill. Return the weights after a step downhill.",
            lambda weights, gradient, learning_rate: learning_rate * gradient,
        ),
    ],
)

# 10.2 ---------------------------------------------------------------------------------------------------------------


def _momentum_step(weights, velocity, gradient, learning_rate, momentum):
    return _sgd(weights, velocity, gradient, learning_rate, momentum=momentum)


def _average_instead(weights, velocity, gradient, learning_rate, momentum):
    velocity = momentum * velocity + (1 - momentum) * gradient
    return weights - learning_rate * velocity, velocity


def _rate_inside(weights, velocity, gradient, learning_rate, momentum):
    velocity = momentum * velocity + learning_rate * gradient
    return weights - velocity, velocity


def _rate_inside_downhill(weights, velocity, gradient, learning_rate, momentum):
    velocity = momentum * velocity - learning_rate * gradient
    return weights + velocity, velocity


def _momentum_on_the_gradient(weights, velocity, gradient, learning_rate, momentum):
    velocity = velocity + momentum * gradient
    return weights - learning_rate * velocity, velocity


def _new_velocity(velocity, gradient, momentum):
    return momentum * velocity + gradient


exercise(
    "10.2",
    "A step with momentum",
    "my_momentum_step",
    reference=_momentum_step,
    cases=lambda generator: ((*vectors, 0.3, 0.8) for vectors in _vectors(generator, 3)),
    returns=("weights", "velocity"),
    mistakes=[
        Mistake(
            "The step uses the old velocity. First the velocity takes in the gradient, then the weights move by it.",
            lambda w, v, g, rate, m: (w - rate * v, _new_velocity(v, g, m)),
        ),
        Mistake(
            "The gradient is weighted with 1 - momentum, which makes the velocity a running mean. Here it is a running "
            "sum: the whole gradient goes in.",
            _average_instead,
        ),
        Mistake(
            "The learning rate is inside the velocity. Here the velocity is a sum of gradients, and the rate "
            "multiplies it when the weights move.",
            _rate_inside,
        ),
        Mistake(
            "The learning rate (and the sign) are inside the velocity. Here the velocity is a sum of gradients, and "
            "the rate multiplies it when the weights move.",
            _rate_inside_downhill,
        ),
        Mistake(
            "The gradient is subtracted from the velocity, and the step adds the velocity. Here the velocity is a sum "
            "of gradients, and the minus sign comes with the step.",
            lambda w, v, g, rate, m: (w + rate * (m * v - g), m * v - g),
        ),
        Mistake(
            "The momentum multiplies the gradient. It is the old velocity that must fade.", _momentum_on_the_gradient
        ),
        Mistake(
            "The old velocity does not fade: the momentum is missing.",
            lambda w, v, g, rate, m: (w - rate * (v + g), v + g),
        ),
        Mistake(
            "The weights move by the gradient alone. It is the velocity that moves them.",
            lambda w, v, g, rate, m: (w - rate * g, _new_velocity(v, g, m)),
        ),
        Mistake(
            "This goes uphill: look at the sign before the learning rate.",
            lambda w, v, g, rate, m: (w + rate * _new_velocity(v, g, m), _new_velocity(v, g, m)),
        ),
    ],
)

# 10.3 ---------------------------------------------------------------------------------------------------------------


def _nesterov_step(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    settings = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": True, "decoupled": True}
    return _sgd(weights, velocity, gradient, learning_rate, **settings)


def _coupled(w, v, g, rate, m, decay):
    return _nesterov_step(w, v, g + decay * w, rate, m, 0.0)


def _without_the_rate(w, v, g, rate, m, decay):
    after, velocity = _nesterov_step(w, v, g, rate, m, 0.0)
    return after - decay * w, velocity


def _decay_after_the_step(w, v, g, rate, m, decay):
    after, velocity = _nesterov_step(w, v, g, rate, m, 0.0)
    return after - rate * decay * after, velocity


def _plain_momentum(w, v, g, rate, m, decay):
    after, velocity = _momentum_step(w, v, g, rate, m)
    return after - rate * decay * w, velocity


def _momentum_forgotten(w, v, g, rate, m, decay):
    velocity = _new_velocity(v, g, m)
    return w - rate * decay * w - rate * (g + velocity), velocity


def _gradient_forgotten(w, v, g, rate, m, decay):
    velocity = _new_velocity(v, g, m)
    return w - rate * decay * w - rate * m * velocity, velocity


exercise(
    "10.3",
    "Nesterov, with decoupled decay",
    "my_nesterov_step",
    reference=_nesterov_step,
    cases=lambda generator: ((*vectors, 0.3, 0.8, decay) for decay in (0.2, 0.0) for vectors in _vectors(generator, 3)),
    returns=("weights", "velocity"),
    mistakes=[
        Mistake(
            "The step uses the velocity itself, or the gradient and the old velocity, which is the same: plain "
            "momentum. Nesterov's step uses the gradient and the new velocity once more.",
            _plain_momentum,
        ),
        Mistake(
            "The decay was added to the gradient, so the velocity takes it in. Decoupled decay shrinks the weights "
            "by itself, and the velocity never sees it.",
            _coupled,
        ),
        Mistake(
            "The decay is not multiplied by the learning rate: the factor is 1 - learning rate * decay.",
            _without_the_rate,
        ),
        Mistake("The weights shrink after the step here. First the decay, then the step.", _decay_after_the_step),
        Mistake(
            "There is no weight decay in this step.",
            lambda w, v, g, rate, m, decay: _nesterov_step(w, v, g, rate, m, 0.0),
        ),
        Mistake(
            "In the step, the momentum before the new velocity is missing: the velocity counts in full here, without "
            "fading.",
            _momentum_forgotten,
        ),
        Mistake(
            "The gradient is missing in the step: Nesterov's step has two parts, the gradient and the new velocity.",
            _gradient_forgotten,
        ),
    ],
)
