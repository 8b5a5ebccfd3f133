"""Wrong answers to lesson 10, as a learner would write them, and words of the hint that each must get."""

import math

import numpy as np


def uphill(weights, gradient, learning_rate):
    step = learning_rate * gradient
    return weights + step


def rate_forgotten(weights, gradient, learning_rate):
    return np.subtract(weights, gradient)


def in_place(weights, gradient, learning_rate):
    weights -= learning_rate * gradient
    return weights


def step_only(weights, gradient, learning_rate):
    return -(gradient * learning_rate)


def weights_first(weights, velocity, gradient, learning_rate, momentum):
    weights = weights - learning_rate * velocity
    velocity = momentum * velocity + gradient
    return weights, velocity


def running_mean(weights, velocity, gradient, learning_rate, momentum):
    v = velocity * momentum + gradient * (1 - momentum)
    return weights - v * learning_rate, v


def classic_form(weights, velocity, gradient, learning_rate, momentum):
    v = momentum * velocity - learning_rate * gradient
    return weights + v, v


def gradient_faded(weights, velocity, gradient, learning_rate, momentum):
    v = velocity + gradient * momentum
    return weights - learning_rate * v, v


def never_fading(weights, velocity, gradient, learning_rate, momentum):
    v = velocity + gradient
    return weights - learning_rate * v, v


def swapped(weights, velocity, gradient, learning_rate, momentum):
    v = momentum * velocity + gradient
    return v, weights - learning_rate * v


def old_velocity_ahead(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    weights = (1 - learning_rate * weight_decay) * weights
    weights = weights - learning_rate * (gradient + momentum * velocity)
    return weights, momentum * velocity + gradient


def decay_in_the_gradient(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    g = gradient + weight_decay * weights
    v = momentum * velocity + g
    return weights - learning_rate * (g + momentum * v), v


def decay_without_rate(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    v = momentum * velocity + gradient
    w = weights * (1 - weight_decay)
    return w - learning_rate * (gradient + momentum * v), v


def decay_last(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    v = momentum * velocity + gradient
    w = weights - learning_rate * (gradient + momentum * v)
    return w * (1 - learning_rate * weight_decay), v


def decay_left_out(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    v = gradient + momentum * velocity
    return weights - learning_rate * (momentum * v + gradient), v


def velocity_in_full(weights, velocity, gradient, learning_rate, momentum, weight_decay):
    v = gradient + momentum * velocity
    return weights - learning_rate * (weight_decay * weights + gradient + v), v


def remainder_kept(count, batch_size, generator):
    order = generator.permutation(count)
    batches, start = [], 0
    while start < count:
        batches.append(order[start : start + batch_size].tolist())
        start += batch_size
    return batches


def drawn_each_time(count, batch_size, generator):
    return [generator.choice(count, batch_size) for _ in range(count // batch_size)]


def as_they_lie(count, batch_size, generator):
    full = count // batch_size
    return np.arange(full * batch_size).reshape(full, batch_size)


def only_batches_shuffled(count, batch_size, generator):
    full = count // batch_size
    batches = np.arange(full * batch_size).reshape(full, batch_size)
    return [batches[i] for i in generator.permutation(full)]


def a_generator_of_its_own(count, batch_size, generator):
    order = np.random.default_rng().permutation(count)
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(count // batch_size)]


def from_zero(step, peak, total_steps, warmup_steps):
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return 0.5 * peak * (1 + np.cos(np.pi * progress))


def over_all_steps(step, peak, total_steps, warmup_steps):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return 0.5 * peak * (1 + np.cos(np.pi * step / total_steps))


def pi_forgotten(step, peak, total_steps, warmup_steps):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return 0.5 * peak * (1 + math.cos(progress))


def twice_the_peak(step, peak, total_steps, warmup_steps):
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress))


def warmup_always(step, peak, total_steps, warmup_steps):
    rising = (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * min(rising, (1 + math.cos(math.pi * progress)) / 2)


def each_by_itself(gradients, max_norm):
    clipped, total = [], 0.0
    for gradient in gradients:
        norm = np.linalg.norm(gradient)
        total += norm**2
        clipped.append(gradient * min(1, max_norm / (norm + 1e-6)))
    return clipped, np.sqrt(total)


def elements_cut(gradients, max_norm):
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
    return tuple(np.minimum(np.maximum(gradient, -max_norm), max_norm) for gradient in gradients), norm


def always_rescaled(gradients, max_norm):
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
    return tuple(gradient / (norm + 1e-6) * max_norm for gradient in gradients), norm


def root_forgotten(gradients, max_norm):
    norm = sum(np.sum(gradient * gradient) for gradient in gradients)
    return tuple(gradient * min(1, max_norm / (norm + 1e-6)) for gradient in gradients), norm


def norms_added(gradients, max_norm):
    norm = sum(np.linalg.norm(gradient) for gradient in gradients)
    return tuple(gradient * min(1, max_norm / (norm + 1e-6)) for gradient in gradients), norm


def divided_by_zero(gradients, max_norm):
    norm = math.sqrt(sum(float(np.sum(gradient**2)) for gradient in gradients))
    factor = min(1, max_norm / norm)
    return tuple(gradient * factor for gradient in gradients), norm


WRONG_ANSWERS = {
    "10.1": [
        (uphill, "This goes uphill"),
        (rate_forgotten, "The learning rate is missing"),
        (in_place, "writes into the weights"),
        (step_only, "This is the step alone"),
    ],
    "10.2": [
        (weights_first, "uses the old velocity"),
        (running_mean, "a running mean"),
        (classic_form, "are inside the velocity"),
        (gradient_faded, "before the gradient"),
        (never_fading, "does not fade"),
        (swapped, "in the wrong order"),
    ],
    "10.3": [
        (old_velocity_ahead, "plain momentum"),
        (decay_in_the_gradient, "added to the gradient"),
        (decay_without_rate, "not multiplied by the learning rate"),
        (decay_last, "shrink after the step"),
        (decay_left_out, "no weight decay"),
        (velocity_in_full, "momentum before the new velocity is missing"),
    ],
    "10.4": [
        (remainder_kept, "The last batch is smaller"),
        (drawn_each_time, "Some images come twice"),
        (as_they_lie, "the same batches"),
        (only_batches_shuffled, "the same batches"),
        (a_generator_of_its_own, "does not come from the generator"),
    ],
    "10.5": [
        (from_zero, "a rate of zero"),
        (over_all_steps, "over all steps"),
        (pi_forgotten, "pi is missing"),
        (twice_the_peak, "twice the peak"),
        (warmup_always, "even where there are none"),
    ],
    "10.6": [
        (each_by_itself, "a norm of its own"),
        (elements_cut, "Single elements are cut off"),
        (always_rescaled, "Short gradients are made longer"),
        (root_forgotten, "The root is missing"),
        (norms_added, "norms of the arrays were added"),
        (divided_by_zero, "division by zero"),
    ],
}
