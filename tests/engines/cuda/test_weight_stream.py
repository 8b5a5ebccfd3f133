"""The second stream for gradients of weights: the same bits in whatever order CUDA runs the two, no missing wait."""

import numpy as np
import pytest

from tests.engines.cuda.test_captured_step import (
    CONFIG,
    ODD,
    OPTIMIZERS,
    config_with,
    host,
    make_step,
    numbers,
)
from tests.kernels.fake_cuda import CaptureError, Event, Stream
from tests.kernels.fake_cupy import fake_gpu
from tinymixer.engines.cuda.weight_stream import WeightStream


@pytest.fixture
def cupy(emulated):
    with fake_gpu() as module:
        yield module


def weights_after(cupy, config=CONFIG, late=False, **options):
    """The weights after four steps, which a graph replays in both orders that the stand-in knows."""
    model, _, step = make_step(cupy, config, OPTIMIZERS["sgd"], **options)
    if late:
        step._mixer.weight_stream.stream.late = True
    step.stage(numbers(step, 4))
    step.run(4)
    step.totals()
    return host(model.parameters.values), step


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"captured": False},
        {"micro_batches": 3},
        {"recompute": True, "micro_batches": 2, "captured": False},
        {"precision": "bfloat16", "epilogues": "always"},
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("config", [config_with(CONFIG, drop_path=0.4), ODD], ids=["even", "odd"])
def test_two_streams_give_the_bits_of_one(cupy, config, options):
    wanted, one = weights_after(cupy, config, two_streams=False, **options)
    assert one._mixer.weight_stream is None
    found, two = weights_after(cupy, config, **options)
    assert two._mixer.weight_stream is not None
    np.testing.assert_array_equal(found, wanted)
    assert two.captured == options.get("captured", True), two.note
    if not two.captured:
        found, _ = weights_after(cupy, config, late=True, **options)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize("forgotten", ["dy", "dhidden"])
def test_a_wait_that_is_forgotten_gives_other_weights(cupy, monkeypatch, captured, forgotten):
    """So these tests would notice."""
    wanted, _ = weights_after(cupy)
    waits = WeightStream.wait_for_readers

    def wait_for_readers(self, name):
        if name != forgotten:
            waits(self, name)

    monkeypatch.setattr(WeightStream, "wait_for_readers", wait_for_readers)
    found, step = weights_after(cupy, late=not captured, captured=captured)
    assert step.captured == captured
    assert not np.array_equal(found, wanted)


def test_a_capture_that_ends_before_the_join_is_refused(cupy, monkeypatch):
    """As CUDA does; then the step goes on uncaptured, and says so."""
    joins = WeightStream.join

    def join(self):
        if Stream.capture is None:
            joins(self)

    wanted, _ = weights_after(cupy)
    monkeypatch.setattr(WeightStream, "join", join)
    found, step = weights_after(cupy)
    assert not step.captured
    assert "cudaErrorStreamCaptureUnjoined" in step.note
    np.testing.assert_array_equal(found, wanted)


def test_without_nvmath_there_is_one_stream(emulated):
    """CuPy's own cuBLAS handle follows the current stream, and there is only one of it."""
    with fake_gpu(with_nvmath=False) as cupy:
        _, step = weights_after(cupy)
        assert step._mixer.weight_stream is None


# ------------------------------------------------------------------------------------------ the stand-in's own rules


def test_the_stand_in_keeps_the_rules_of_captures(cupy):
    main, side, done = cupy.cuda.Stream(), cupy.cuda.Stream(), []
    fork, join = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
    main.begin_capture()
    main.do(lambda: done.append("first"))
    fork.record(main)
    side.wait_event(fork)
    side.do(lambda: done.append("beside"))
    main.do(lambda: done.append("second"))
    with pytest.raises(CaptureError, match="Unjoined"):
        main.end_capture()

    main.begin_capture()
    main.do(lambda: done.append("first"))
    fork.record(main)
    side.wait_event(fork)
    side.do(lambda: done.append("beside"))
    main.do(lambda: done.append("second"))
    join.record(side)
    main.wait_event(join)
    main.do(lambda: done.append("third"))
    graph = main.end_capture()
    assert done == []
    graph.launch(main)
    graph.launch(main)
    assert done == ["first", "second", "beside", "third", "first", "beside", "second", "third"]
    with pytest.raises(RuntimeError, match="cudaErrorCapturedEvent"):
        main.wait_event(join)


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda cupy, stream: cupy.zeros(3),
        lambda cupy, stream: stream.synchronize(),
        lambda cupy, stream: cupy.cuda.Stream.null.do(lambda: None),
        lambda cupy, stream: cupy.RawModule(
            code="StepState", options=("--std=c++17",), name_expressions=["f"]
        ).get_function("f"),
        lambda cupy, stream: stream.wait_event(_recorded_outside),
    ],
    ids=["allocate", "synchronise", "the default stream", "load a module", "wait for an event from outside"],
)
def test_what_is_forbidden_in_a_capture_makes_it_invalid(cupy, forbidden):
    stream = cupy.cuda.Stream()
    _recorded_outside.record(stream)
    stream.begin_capture()
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
        forbidden(cupy, stream)
    with pytest.raises(RuntimeError, match="invalidated"):
        stream.is_capturing()
    with pytest.raises(CaptureError, match="Invalidated"):
        stream.end_capture()
    assert not stream.is_capturing()


_recorded_outside = Event(disable_timing=True)


def test_copies_to_and_from_pageable_memory_are_refused_in_a_capture(cupy):
    array, stream = cupy.zeros(3), cupy.cuda.Stream()
    for copy in (array.get, lambda: array.set(np.zeros(3))):
        stream.begin_capture()
        with pytest.raises(CaptureError, match="while a stream is captured nobody can copy"):
            copy()
        with pytest.raises(CaptureError):
            stream.end_capture()
