"""`tinymixer.ops` and its faster versions have every operation of the protocol, under the same signature.

That a misspelt operation is a type error stands in `tests/typing/misspelt_operation.py`, which mypy reads.
"""

import inspect
from types import SimpleNamespace

import pytest

from tinymixer import ops
from tinymixer.kernels.operations import fused_operations
from tinymixer.ops.protocol import Operations

DECLARED = {name: member for name, member in vars(Operations).items() if inspect.isfunction(member) and name[0] != "_"}


def signature(function, skip=0):
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


def test_the_protocol_lists_exactly_the_operations():
    assert sorted(DECLARED) == sorted(ops.__all__)


@pytest.mark.parametrize("name", ops.__all__)
def test_every_operation_has_the_signature_of_the_protocol(name):
    expected = signature(DECLARED[name], skip=1)
    assert signature(getattr(ops, name)) == expected
    assert signature(getattr(fused_operations(SimpleNamespace()), name)) == expected
    hints = inspect.get_annotations(getattr(ops, name))
    assert hints == {key: hint for key, hint in inspect.get_annotations(DECLARED[name]).items() if key != "self"}
