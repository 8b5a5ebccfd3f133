"""Wrong answers to lesson 01b, as a learner would write them, and words of the hint that each must get."""

import math

import numpy as np

from tinymixer.lessons.tape import Tape


def moved_together(f, a, b, h):
    rise = f(a + h, b + h) - f(a, b)
    return rise / h, rise / h


def only_the_rise(f, a, b, h):
    return f(a + h, b) - f(a, b), f(a, b + h) - f(a, b)


def backwards_rise(f, a, b, h):
    return (f(a, b) - f(a + h, b)) / h, (f(a, b) - f(a, b + h)) / h


def central_over_one_step(f, a, b, h):
    return (f(a + h, b) - f(a - h, b)) / h, (f(a, b + h) - f(a, b - h)) / h


def product_of_sums(a, b):
    return np.sum(a) * np.sum(b), a.sum(0) * b.sum(0)


def assigned_total(a, b):
    total, columns = 0, np.zeros(a.shape[1])
    for i in range(len(a)):
        for j in range(a.shape[1]):
            total = a[i, j] * b[i, j]
            columns[j] += total
    return total, columns


def rows_for_columns(a, b):
    product = a * b
    return product.sum(), product.sum(axis=-1)


def columns_assigned(a, b):
    columns = np.empty(a.shape[1])
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            columns[j] = a[i, j] * b[i, j]
    return float((a * b).sum()), columns


def products_of_rows(a, b):
    total = 0
    for row in a:
        for other in b:
            total += np.dot(row, other)
    return total, (a * b).sum(axis=0)


def inner_square_forgotten(x, w, b, t):
    s = w * x + b
    dL_ds = 2 * (s * s - t)
    return dL_ds * x, dL_ds


def outer_square_forgotten(x, w, b, t):
    s = w * x + b
    return 2 * s * x, 2 * s


def squares_without_two(x, w, b, t):
    s = w * x + b
    e = s**2 - t
    return e * s * x, e * s


def slope_of_the_input(x, w, b, t):
    s = w * x + b
    e = s**2 - t
    return 2 * e * 2 * s * w, 2 * e * 2 * s


def steps_added(x, w, b, t):
    s = w * x + b
    e = s**2 - t
    return 2 * e + 2 * s + x, 2 * e + 2 * s + 1


def error_the_other_way(x, w, b, t):
    s = w * x + b
    e = t - s**2
    return 2 * e * 2 * s * x, 2 * e * 2 * s


def no_direct_way(x, w):
    return (1 - np.tanh(w * x) ** 2) * w


def weight_forgotten(x, w):
    t = math.tanh(w * x)
    return 1 + 1 - t * t


def tanh_of_x(x, w):
    t = math.tanh(x)
    return 1 + (1 - t * t) * w


def square_forgotten(x, w):
    return 1 + w * (1 - math.tanh(w * x))


def the_value(x, w):
    return x + math.tanh(w * x)


def value_for_slope(x, w):
    return 1 + np.tanh(w * x) * w


def with_respect_to_w(x, w):
    return 1 + (1 - np.tanh(w * x) ** 2) * x


class PlacesMultiplied(Tape):
    def multiply(self, a, b):
        return self.write(a * b, (a, b), (b, a))


class OwnFactor(Tape):
    def multiply(self, a, b):
        return self.write(self.values[a] * self.values[b], (a, self.values[a]), (b, self.values[b]))


class NothingReturned(Tape):
    def multiply(self, a, b):
        x, y = self.values[a], self.values[b]
        self.write(x * y, (a, y), (b, x))


class ValueReturned(Tape):
    def multiply(self, a, b):
        x, y = self.values[a], self.values[b]
        self.write(x * y, (a, y), (b, x))
        return x * y


class SlopesOfASum(Tape):
    def multiply(self, a, b):
        return self.write(self.values[a] * self.values[b], (a, 1), (b, 1))


class SlopeFromTheInput(Tape):
    def tanh(self, a):
        x = self.values[a]
        return self.write(math.tanh(x), (a, 1 - x**2))


class TanhNotSquared(Tape):
    def tanh(self, a):
        t = math.tanh(self.values[a])
        return self.write(t, (a, 1 - t))


class TanhOfThePlace(Tape):
    def tanh(self, a):
        t = np.tanh(a)
        return self.write(t, (a, 1 - t**2))


class TanhReturned(Tape):
    def tanh(self, a):
        return np.tanh(self.values[a])


class WaysInAList(Tape):
    def multiply(self, a, b):
        ways = [(a, self.values[b]), (b, self.values[a])]
        return self.write(self.values[a] * self.values[b], ways)


def never_begun(tape, last):
    slopes = [0.0] * len(tape.values)
    for place in reversed(range(last + 1)):
        for part, local_slope in tape.ways[place]:
            slopes[part] += slopes[place] * local_slope
    return slopes


def overwritten(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in reversed(range(last + 1)):
        for part, local_slope in tape.ways[place]:
            slopes[part] = slopes[place] * local_slope
    return slopes


def from_the_front(tape, last):
    slopes = np.zeros(len(tape.values))
    slopes[last] = 1
    for place in range(last + 1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += slopes[place] * local_slope
    return slopes


def returned_too_early(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in range(last, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += slopes[place] * local_slope
        return slopes
    return slopes


def the_wrong_way_round(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in range(last, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[place] += slopes[part] * local_slope
    return slopes


def times_the_value(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in range(last, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += tape.values[place] * local_slope
    return slopes


def local_slopes_only(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[last] = 1.0
    for place in range(last, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += local_slope
    return slopes


def from_the_end_of_the_tape(tape, last):
    slopes = [0.0] * len(tape.values)
    slopes[-1] = 1.0
    for place in range(len(slopes) - 1, -1, -1):
        for part, local_slope in tape.ways[place]:
            slopes[part] += slopes[place] * local_slope
    return slopes


def one_output_left(dy, x, weight):
    dx, dweight = np.zeros(len(x)), np.zeros(weight.shape)
    for i in range(len(x)):
        for o in range(len(dy)):
            dx[i] = dy[o] * weight[i, o]
            dweight[i, o] = x[i] * dy[o]
    return dx, dweight, dy.copy()


def dweight_turned(dy, x, weight):
    return np.dot(weight, dy), dy[:, None] * x, dy.copy()


def weights_in_dweight(dy, x, weight):
    return weight @ dy, weight * dy, dy.copy()


def one_bias_for_all(dy, x, weight):
    return weight @ dy, x[:, None] * dy, np.sum(dy)


def dx_not_summed(dy, x, weight):
    return weight * dy, x[:, None] * dy, dy.copy()


def indices_exchanged(dy, x, weight):
    dx = np.zeros(x.shape)
    for i in range(len(x)):
        for o in range(len(dy)):
            dx[i] += weight[o, i] * dy[o]
    return dx, x[:, None] * dy, dy.copy()


def rows_transposed(dy, x, weight):
    return dy @ weight.T, x.T @ dy, dy.copy()


WRONG_ANSWERS = {
    "1b.1": [
        (moved_together, "Both numbers have moved at once"),
        (only_the_rise, "how far f moves"),
        (backwards_rise, "The sign is wrong"),
        (central_over_one_step, "Twice what it should be"),
    ],
    "1b.2": [
        (product_of_sums, "not the product of sums"),
        (assigned_total, "only its last term"),
        (rows_for_columns, "columns is summed over j"),
        (columns_assigned, "last term of each sum"),
        (products_of_rows, "total is a matrix product"),
    ],
    "1b.3": [
        (inner_square_forgotten, "the one from s to s * s"),
        (outer_square_forgotten, "The last step is missing"),
        (squares_without_two, "The squares have lost a factor of 2"),
        (slope_of_the_input, "the slope with respect to x"),
        (steps_added, "The local slopes are added"),
        (error_the_other_way, "The sign is wrong everywhere"),
    ],
    "1b.4": [
        (no_direct_way, "Only the way through tanh"),
        (weight_forgotten, "lacks its first step"),
        (tanh_of_x, "The slope of tanh is taken at x"),
        (square_forgotten, "1 minus its *square*"),
        (the_value, "This is y itself"),
        (value_for_slope, "The value of tanh stands"),
        (with_respect_to_w, "The way through tanh ends at w"),
    ],
    "1b.5": [
        (PlacesMultiplied, "multiplies the places a and b"),
        (OwnFactor, "are exchanged"),
        (NothingReturned, "does not return its place"),
        (ValueReturned, "returns the product itself"),
        (SlopesOfASum, "those of a sum"),
        (SlopeFromTheInput, "the number that came out"),
        (TanhNotSquared, "1 minus its *square*"),
        (TanhOfThePlace, "the tanh of the place"),
        (TanhReturned, "tanh returns its value"),
        (WaysInAList, "and not a list of pairs"),
    ],
    "1b.6": [
        (never_begun, "nothing was put in at the end"),
        (overwritten, "keeps only one of its ways"),
        (from_the_front, "Is the tape read from front to back?"),
        (returned_too_early, "return inside the loop"),
        (the_wrong_way_round, "not the other way round"),
        (times_the_value, "multiplied by the number itself"),
        (local_slopes_only, "added up as they are"),
        (from_the_end_of_the_tape, "starts at the end of the tape"),
    ],
    "1b.7": [
        (one_output_left, "dx has only its last term"),
        (dweight_turned, "dweight is transposed"),
        (weights_in_dweight, "dweight has the weights in it"),
        (one_bias_for_all, "dbias is a single sum"),
        (dx_not_summed, "dx is not summed"),
        (indices_exchanged, "dx has weight with its indices exchanged"),
        (rows_transposed, "x and dy are rows with one axis"),
    ],
}
