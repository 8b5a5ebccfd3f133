"""Wrong answers to lesson 04, as a learner would write them, and words of the hint that each must get."""

import math

import numpy as np

from tinymixer.ops.normal_distribution import normal_cdf

SLOPE = math.sqrt(2 / math.pi)


def weights_in_the_wrong_order(weight1, bias1, weight2, bias2):
    return np.matmul(weight2, weight1), np.dot(bias1, weight2) + bias2


def biases_added(weight1, bias1, weight2, bias2):
    return np.dot(weight1, weight2), bias2 + bias1


def first_bias_lost(weight1, bias1, weight2, bias2):
    return np.dot(weight1, weight2), bias2.copy()


def element_by_element(weight1, bias1, weight2, bias2):
    return weight1 * weight2, bias1 * weight2 + bias2


def phi_kept_as_a_constant(dy, cache):
    return np.multiply(dy, cache[1])


def density_without_its_factor(dy, cache):
    x, probability = cache
    return (probability + np.exp(-(x**2) / 2) * x) * dy


def density_without_x(dy, cache):
    x, probability = cache
    return (probability + np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)) * dy


def slope_of_the_exact_form(dy, cache):
    x, probability = cache
    return probability + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def numpy_root_in_the_density(dy, cache):
    x, probability = cache
    return (probability + x / np.sqrt(2 * np.pi) * np.exp(-(x**2) / 2)) * dy


def only_the_gate(dy, cache):
    _, t = cache
    return (dy + dy * t) / 2


def three_forgotten(dy, cache):
    x, t = cache
    return dy * ((1 + t) / 2 + x / 2 * (1 - t**2) * (SLOPE + SLOPE * 0.044715 * x**2))


def tanh_prime_not_squared(dy, cache):
    x, t = cache
    return dy * ((1 + t) / 2 + x / 2 * (1 - t) * SLOPE * (1 + 0.134145 * x**2))


def inner_derivative_forgotten(dy, cache):
    x, t = cache
    return dy * (1 + t + x * (1 - t * t)) / 2


def root_forgotten_inside(dy, cache):
    x, t = cache
    return dy * ((1 + t) / 2 + x / 2 * (1 - t**2) * (1 + 0.134145 * x**2))


def the_other_form(dy, cache):
    x, _ = cache
    return dy * (normal_cdf(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))


def numpy_root(x):
    gate = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return x * (1 + gate) / 2


def all_in_float32(x):
    narrow = x.astype("float32")
    gate = np.tanh(SLOPE * (narrow + 0.044715 * narrow**3))
    return (narrow * (1 + gate) / 2).astype(x.dtype)


def constants_rounded(x):
    gate = np.tanh(np.float32(SLOPE) * (x + np.float32(0.044715) * x**3))
    return x * (1 + gate) / 2


def half_forgotten(x):
    return x + x * np.tanh(SLOPE * (x + 0.044715 * x**3))


def root_before_x_alone(x):
    return x / 2 * (1 + np.tanh(SLOPE * x + 0.044715 * x**3))


def into_t(dy, cache):
    x, t = cache
    slope = 0.5 * (1 + t)
    np.multiply(t, t, out=t)
    slope += 0.5 * x * (1 - t) * SLOPE * (1 + 0.134145 * x * x)
    slope *= dy
    return slope


def into_dy(dy, cache):
    x, t = cache
    dy *= 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SLOPE * (1 + 0.134145 * x * x)
    return dy


def as_in_the_exercise_before(dy, cache):
    x, t = cache
    du_dx = SLOPE * (1 + 0.134145 * x * x)
    dt_dx = (1 - t * t) * du_dx
    first = 0.5 * (1 + t)
    second = 0.5 * x * dt_dx
    return dy * (first + second)


def gate_left_out(dy, cache):
    x, t = cache
    slope = x * x
    slope *= 0.134145
    slope += 1
    slope *= 0.5 * SLOPE * x
    slope *= 1 - t * t
    slope *= dy
    return slope


def dy_left_out(dy, cache):
    x, t = cache
    slope = x * x
    slope *= 0.134145
    slope += 1
    slope *= 0.5 * SLOPE * x
    slope *= 1 - t * t
    slope += 0.5 * t
    slope += 0.5
    return slope


WRONG_ANSWERS = {
    "4.1": [
        (weights_in_the_wrong_order, "wrong order"),
        (biases_added, "goes through the second Linear"),
        (first_bias_lost, "The first bias is lost"),
        (element_by_element, "matrix product is written @"),
    ],
    "4.2": [
        (phi_kept_as_a_constant, "Only the first term"),
        (density_without_its_factor, "lacks its factor in front"),
        (density_without_x, "The factor x before the density"),
        (slope_of_the_exact_form, "dy is missing"),
        (numpy_root_in_the_density, "float32 became float64"),
    ],
    "4.3": [
        (only_the_gate, "Only the first term"),
        (three_forgotten, "lacks its factor 3"),
        (tanh_prime_not_squared, "It is 1 - t^2"),
        (inner_derivative_forgotten, "The inner derivative du/dx is missing"),
        (root_forgotten_inside, "lacks the factor sqrt(2 / pi)"),
        (the_other_form, "derivative of the exact form"),
    ],
    "4.4": [
        (numpy_root, "float32 became float64"),
        (all_in_float32, "only seven digits are right"),
        (constants_rounded, "only seven digits are right"),
        (half_forgotten, "the half is missing"),
        (root_before_x_alone, "belongs before the bracket"),
    ],
    "4.5": [
        (into_t, "writes into dy or into an array of the cache"),
        (into_dy, "writes into dy or into an array of the cache"),
        (as_in_the_exercise_before, "four arrays or more"),
        (gate_left_out, "Only the second term"),
        (dy_left_out, "dy is missing"),
    ],
}
