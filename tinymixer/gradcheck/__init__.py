'''Checks whether a gradient is right: of an operation, a layer or a model, this package's or your own.

    from tinymixer.gradcheck import check_operation
    print(check_operation(gelu_forward, gelu_backward, np.random.default_rng(0).normal(size=(3, 4))))

A gradient check compares two sources. The backward pass claims derivatives. The forward pass shows them: move an input
a little and see how far the output moves. The two come from different code, so if they agree to nine digits, both are
right. (The forward defines what is right; a mistake in the forward itself is not found.)

**The cotangent dy is random.** A backward turns dy, the gradient with respect to the output, into dx. With dy all ones
it computes the gradient of y.sum(). LayerNorm's outputs sum to a constant, so that gradient is 0, and many wrong
formulas give 0 too: LayerNorm without the third term of its backward passes with ones, and is off by more than 1 with a
random dy. The checker draws dy from random numbers of its own, never from those of your inputs.

**Small inputs are checked whole, large ones by samples.** Of a small input the whole Jacobian is compared, every output
by every input element. Of a large one: some elements, and random directions through all of them, along which a single
wrong element shows. `jacobian_limit` and `samples` say what is small and how many.

**Differences are computed in float64 and know their own error.** (f(x + h) - f(x - h)) / 2h is inexact for a large h
because f curves, and for a small h because of rounding. Several h are tried, extrapolation removes the leading error
terms, and each derivative comes with an estimate of its error (`tinymixer.gradcheck.differences`). If no h gives a
stable result, the check fails and says so. Where the forward accepts complex numbers, the complex step is compared too:
Im f(x + ih) / h subtracts nothing and is exact to rounding (Squire & Trapp 1998, SIAM Review 40).

**The relative error** is |expected - got| / max(|expected|, |got|, floor). The floor is a thousandth of the largest
derivative in the array, so that a true 0 beside 1e-17 is not an error of 100 %. NaN always fails.

**At a kink** (ReLU at 0, a maximum over equal numbers) any number between the slopes around it passes. At the edge of
the forward's domain the slope inside counts.

**The contract is checked too.** Inputs, dy and cache are not written to; outputs and gradients share no memory with
them; the same call gives the same answer; a second forward does not spoil the first one's cache; the backward is linear
in dy; any memory layout is accepted; float32 in gives float32 out. Layers must add to their gradients and leave their
values alone.

**Other inputs are tried** where that is cheap: moved at random, larger, with zeros, a batch of one, an odd size. Some
mistakes show only there, such as a missing transpose where the weight given is symmetric. `vary=False` turns it off.

The report lists what was compared (`report.checked`) and names arrays that may be parameters but have no gradient. If
no gradient was compared, the report has not passed. `tinymixer.gradcheck.planted_faults` holds the mistakes that the
checker itself is tested with.

Your own layer needs a forward that returns (output, cache) and a backward that adds to its gradients and returns dx.
Its parameters are found if it keeps them in one of the usual ways (`tinymixer.gradcheck.adapter`):

>>> import numpy as np
>>> from tinymixer.gradcheck import check_layer
>>> class Scale:
...     """y = a x, with one a for each channel."""
...     def __init__(self, channels):
...         self.parameters = {"a": np.ones(channels)}
...         self.gradients = {"a": np.zeros(channels)}
...     def forward(self, x):
...         return x * self.parameters["a"], x
...     def backward(self, dy, x):
...         self.gradients["a"] += np.sum(dy * x, axis=0)
...         return dy * self.parameters["a"]
>>> x = np.random.default_rng(0).standard_normal((3, 4))
>>> check_layer(Scale(4), x).passed
True

With a mistake in it, the report says where; `raise_if_failed` makes a test of it.

>>> class Forgetful(Scale):
...     """The sum over the rows, which share a, is forgotten: the last row alone counts."""
...     def backward(self, dy, x):
...         self.gradients["a"] += dy[-1] * x[-1]
...         return dy * self.parameters["a"]
>>> report = check_layer(Forgetful(4), x)
>>> report.passed, report.failures[0].check
(False, 'jacobian')
>>> report.raise_if_failed()  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
tinymixer.gradcheck.report.GradientCheckError: Forgetful (3, 4), jacobian, at y[0, 0] by a[0]: expected ..., got 0: ...
'''

from tinymixer.gradcheck.layer import check_layer, check_model
from tinymixer.gradcheck.operation import check_operation
from tinymixer.gradcheck.report import Coverage, GradientCheckError, NotCheckableError, Report, Row
from tinymixer.gradcheck.suite import check_everything

__all__ = [
    "Coverage",
    "GradientCheckError",
    "NotCheckableError",
    "Report",
    "Row",
    "check_everything",
    "check_layer",
    "check_model",
    "check_operation",
]
