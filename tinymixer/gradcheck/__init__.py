'''Is this gradient right? Check an operation, a layer or a model, this package's or your own.

    from tinymixer.gradcheck import check_operation
    print(check_operation(gelu_forward, gelu_backward, np.random.default_rng(0).normal(size=(3, 4))))

What a gradient check is
    A backward pass claims derivatives. The forward pass can be asked for them too: move an input a little, look how
    far the output moves. The two come from different code, so where they agree to nine digits both are right, and
    where they do not the backward is wrong (the forward is what it is). It is the one test that needs no reference.

What the cotangent is, and why all ones lie
    A backward pass turns dy, the gradient by the output, into dx. To check it some dy must be chosen, and dy = 1 is
    the obvious one: it asks for the gradient of y.sum(). But LayerNorm's outputs sum to a constant, and so do a
    softmax's: every right answer is 0, and so are many wrong ones. LayerNorm (scale 1) with the third term of its
    backward deleted *passes* with ones, off by 1e-10, which is the noise of the differences; with a random dy it is
    off by more than 1. So dy is always random here, and the checker draws it from random numbers of its own: an x
    drawn from the same seed would make dy = x, and the weight gradient x^T dy symmetric.

Every element, or random directions
    Of a small input the whole Jacobian is compared, every output by every input, and the worst pair is named. Of a
    large one a few elements (its corners among them), and sums over all elements in random directions: one wrong
    element anywhere moves such a sum, in proportion to its share of it.

Why float64, and how the step is chosen
    A difference (f(x + h) - f(x - h)) / 2h is off by about h^2 (the curve is no line) and by about 1e-16 / h
    (rounding; in float32 1e-7 / h: three digits at best, in which no missing term of size 1e-4 can be seen). One h
    cannot serve x = 0.001 and x = 1000 alike, so a ladder of steps, each a fourth of the last, starts in proportion
    to x; extrapolation removes the h^2 and h^4 terms, and every derivative comes with an estimate of its own error
    (`tinymixer.gradcheck.differences`). Where no step settles, that is a failure and says so: the forward jumps,
    draws random numbers or rounds to float32.

The complex step
    For an analytic function f(x + ih) = f(x) + ih f'(x) - ..., so that f'(x) = Im f(x + ih) / h, and since nothing
    is subtracted h may be 1e-30: exact to the last digits (Squire & Trapp 1998, SIAM Review 40). Where a forward
    takes complex numbers it is a second oracle, a hundred times stricter. abs, comparisons and casts lose the
    imaginary part without a word; so it is believed only where central differences confirm it, and otherwise marked
    n/a.

What "relative error" means near zero
    |expected - got| / max(|expected|, |got|, floor). Without a floor a true 0 beside a computed 1e-17 would be off
    by 100 %. The floor is a thousandth of the largest derivative of the same tensor: smaller elements count in
    proportion to what they contribute. It is raised where the differences themselves are less certain than a tenth
    of the tolerance. NaN is never within any tolerance.

Where there is no derivative
    At a kink (ReLU at 0, a maximum over equal numbers) any number between the slopes around it is a gradient, along
    every direction: so a tie may go to either of two, not to both (`tinymixer.gradcheck.differences`). At the edge of a
    domain, beyond which the forward refuses or gives NaN, the slope inside counts.

What else is checked
    The contract of forward and backward: inputs, dy, labels and cache are read, never written; outputs and gradients
    own their memory, and the next call leaves them alone; the same answer twice, and after a hundred calls; backward
    from the first cache after a second forward, in the other mode too; linearity in dy, be it large or small; arrays
    with strides, gaps and repetitions; float32 in, float32 out, as close to float64 as float32 allows; and of layers,
    that gradients are added and values left alone. Right numbers can be wrong in use in all of these ways.

What other inputs would show
    Some mistakes cannot be seen at the inputs given: a missing transpose where the weight is symmetric, a clipped
    gradient where no input is large, a batch of one. Where it is cheap these are tried as well: inputs moved at random,
    larger, with zeros, in a batch of one, of odd size (`vary=False` to leave them alone). A forward that cannot follow
    says nothing.

What was looked at
    The report lists it: inputs and parameters by name, elements, directions (`report.checked`). A layer's parameters
    are found in whichever of the usual ways it keeps them (`tinymixer.gradcheck.adapter`); arrays that are not
    understood are named; and where no gradient was compared nothing has passed. `tinymixer.gradcheck.planted_faults`
    holds the mistakes that this checker is itself checked with.

Your own layer needs a forward that returns (output, cache) and a backward that adds to its gradients and returns dx:

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
