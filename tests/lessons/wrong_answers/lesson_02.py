"""Wrong answers to lesson 02, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def weight_turned(x, weight, bias):
    return np.dot(x, np.transpose(weight)) + bias


def bias_forgotten(x, weight, bias):
    return np.matmul(x, weight)


def element_by_element(x, weight, bias):
    return x * weight + bias


def gradient_handed_on(dy):
    return dy.copy()


def averaged(dy):
    return np.mean(dy, 0)


def summed_over_outputs(dy):
    return np.sum(dy, axis=-1)


def dx_without_transpose(dy, cache):
    x, weight = cache
    return dy @ weight, x.T @ dy, dy.sum(axis=0)


def dweight_transposed(dy, cache):
    x, weight = cache
    return dy @ weight.T, dy.T @ x, dy.sum(axis=0)


def bias_not_summed(dy, cache):
    x, weight = cache
    return dy @ weight.T, x.T @ dy, dy


def bias_averaged(dy, cache):
    x, weight = cache
    return dy @ weight.T, x.T @ dy, dy.mean(axis=0)


def last_use_only(dy, cache):
    x, weight = cache
    hidden = x @ weight
    return (dy @ weight.T) @ weight.T, hidden.T @ dy


def first_use_only(dy, cache):
    x, weight = cache
    dhidden = dy @ weight.T
    return dhidden @ weight.T, x.T @ dhidden


def back_through_one(dy, cache):
    x, weight = cache
    hidden = x @ weight
    return dy @ weight.T, hidden.T @ dy


WRONG_ANSWERS = {
    "2.1": [
        (weight_turned, "The weight is transposed"),
        (bias_forgotten, "The bias is missing"),
        (element_by_element, "matrix product is written @"),
    ],
    "2.2": [
        (gradient_handed_on, "The sum over the batch is missing"),
        (averaged, "This is the mean over the batch"),
        (summed_over_outputs, "sum over the images, axis 0"),
    ],
    "2.3": [
        (dx_without_transpose, "its transpose belongs"),
        (dweight_transposed, "dweight is transposed"),
        (bias_not_summed, "The sum over the batch is missing in dbias"),
        (bias_averaged, "dbias is the mean over the batch"),
    ],
    "2.4": [
        (last_use_only, "share of the second use only"),
        (first_use_only, "share of the first use only"),
        (back_through_one, "passed through weight once"),
    ],
}
