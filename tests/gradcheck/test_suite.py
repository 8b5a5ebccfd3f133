"""check_everything, and the examples in the documentation."""

import doctest
import importlib
import json
import time

import pytest

from tests.gradcheck.device_arrays import LIBRARY
from tinymixer import layers, ops
from tinymixer.backend import Backend
from tinymixer.gradcheck import Report, check_everything
from tinymixer.gradcheck.suite import layer_checks, operation_checks
from tinymixer.models import architectures, model_class

pytestmark = pytest.mark.timeout(600)  # on the clock, of a machine that may be busy; the processor's time is asserted


def test_everything_this_package_differentiates_passes():
    """One test, since it takes long: two workers would otherwise compute it twice to look at different sides of it."""
    steps, started = [], time.process_time()
    report = check_everything(lambda name, done, total: steps.append((name, done, total)))
    processor_seconds = time.process_time() - started
    assert report.passed, str(report)
    assert report.worst_error < 1e-6
    assert report.seconds > 0
    assert processor_seconds < 60  # of the processor: the time on the clock depends on what else the machine does
    require_every_operation_layer_and_model({row.name for row in report.rows})
    shapes = {row.shape for row in report.rows}
    assert (1, 1, 1) in shapes
    assert any(all(size % 2 for size in shape) and max(shape) > 1 for shape in shapes)
    assert json.loads(json.dumps(report.to_rows(), allow_nan=False))
    total = steps[-1][1]
    assert [(done, of) for _, done, of in steps] == [(done, total) for done in range(total + 1)]


def require_every_operation_layer_and_model(names):
    assert {name.removesuffix("_forward") for name in ops.__all__ if name.endswith("_forward")} <= names
    assert set(layers.__all__) - {"Layer", "BlockSizes", "Part", "TokenMixer", "TOKEN_MIXERS"} <= names
    assert {model_class(name).__name__ for name in architectures()} <= names


class DeviceBackend(Backend):
    """A backend over the stand-in for CuPy."""

    def asarray(self, array, dtype=None):
        return LIBRARY.asarray(array, dtype)


def test_layers_and_operations_pass_on_another_array_library():
    """What needs only the functions that the stand-in has: it is the way of the arrays that is tested here."""
    backend = DeviceBackend("device", LIBRARY, ops)
    chosen = [check for name, check in operation_checks(0, backend) if name in ("layer_norm", "gelu_tanh", "linear")]
    chosen += [check for name, check in layer_checks(0, backend) if name in ("LayerNorm", "TokenMixing")]
    report = Report().merged(check() for check in chosen)
    assert len(chosen) == 20
    assert report.passed, str(report)


@pytest.mark.gpu
def test_everything_passes_on_a_gpu():
    check_everything(backend="cupy").raise_if_failed()


@pytest.mark.parametrize("module", ["tinymixer.gradcheck", "tinymixer.gradcheck.operation"])
def test_the_examples_of_the_documentation_run(module):
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert results.failed == 0
