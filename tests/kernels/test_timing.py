"""Timing on the GPU: the host's launches are not part of it, and where the host was too slow that is noticed."""

import pytest

from tests.kernels.fake_cuda import Event, Stream
from tests.kernels.fake_cupy import LAUNCHES, fake_gpu
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.timing import FIRST_CYCLES, HOLD, MOST_CYCLES, DeviceTimer


@pytest.fixture
def cupy(emulated):
    with fake_gpu() as module:
        yield module


@pytest.fixture
def timer(cupy):
    stream = cupy.cuda.Stream()
    return DeviceTimer(cupy, stream, Kernels(cupy, [HOLD]).launch)


def test_launches_are_timed_behind_a_kernel_that_holds_the_stream(timer):
    calls = []

    def work():
        calls.append(len(LAUNCHES))

    assert timer.seconds(work, times=4, repeats=3) == pytest.approx(1e-3 / 4)  # the stand-in's millisecond
    assert calls == [0, *[1] * 4, *[2] * 4, *[3] * 4]  # one run warms up; before each other one the stream is held
    assert LAUNCHES == [HOLD] * 3


def test_the_stand_in_refuses_a_time_that_would_be_the_hosts(cupy):
    stream = cupy.cuda.Stream()
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record(stream)
    assert start.done
    end.record(stream)
    end.synchronize()
    with pytest.raises(AssertionError, match="times the host's launches"):
        cupy.cuda.get_elapsed_time(start, end)


def test_a_host_that_is_too_slow_holds_the_stream_longer(timer, monkeypatch):
    """Until the start event is not yet reached when the last launch has come."""
    slow = [True, True, False, False]
    monkeypatch.setattr(Event, "done", property(lambda self: slow.pop(0)))
    timer.seconds(lambda: None, repeats=2)
    assert timer._cycles == 4 * FIRST_CYCLES
    assert len(LAUNCHES) == 4


def test_a_host_that_is_always_too_slow_ends_all_the_same(timer, monkeypatch):
    monkeypatch.setattr(Event, "done", property(lambda self: True))
    assert timer.seconds(lambda: None, repeats=1) == pytest.approx(1e-3)
    assert timer._cycles == MOST_CYCLES
    assert Stream.capture is None
