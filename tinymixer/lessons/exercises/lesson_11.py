"""Exercises of lesson 11: two rates, a timer, bytes (its kernels: lesson_11_kernels)."""

import copy
from dataclasses import dataclass, field

from tinymixer.lessons.exercise import Mistake, exercise


@dataclass
class PretendDevice:
    """A simulated device with a queue. Its time is computed, not measured: the same on every machine.

    launch        seconds that a launch costs the host
    compilation   extra seconds that the first launch costs the host
    """

    launch: float = 5e-6
    compilation: float = 0.2
    busy_until: float = field(default=0.0, repr=False)  # when the device will have finished all that is queued
    now: float = field(default=0.0, repr=False)  # what the host's clock shows
    history: list[tuple[float, float, float]] = field(default_factory=list, repr=False)

    def clock(self) -> float:
        """The host's time in seconds."""
        return self.now

    def start(self, seconds: float) -> None:
        """Put a kernel that takes so long into the queue, and return at once."""
        asked = self.now
        self.now += self.launch + (0 if self.history else self.compilation)
        begins = max(self.now, self.busy_until)
        self.busy_until = begins + seconds
        self.history.append((asked, begins, self.busy_until))

    def synchronize(self) -> None:
        """Wait until the device has finished everything in its queue."""
        self.now = max(self.now, self.busy_until)


# ------------------------------------------------------------------------------------------ 11.1 the roof


def _least_time(flops, nbytes, peak, bandwidth):
    arithmetic, memory = flops / peak, nbytes / bandwidth
    return max(arithmetic, memory), "arithmetic" if arithmetic > memory else "memory"


exercise(
    "11.1",
    "Two rates",
    "my_least_time",
    reference=_least_time,
    cases=lambda generator: (
        (flops, nbytes, 772e12, 2.95e12)
        for flops, nbytes in ((1.37e11, 3.4e8), (1.7e10, 3.4e8), (1e6, 8e9), (5e12, 1e3))
    ),
    returns=("seconds", "bound"),
    mistakes=[
        Mistake(
            "The two times are added. Products and memory work at the same time, so the longer of the two decides.",
            lambda flops, nbytes, peak, bandwidth: (flops / peak + nbytes / bandwidth, None),
        ),
        Mistake(
            "This is the shorter of the two times. Both parts must be finished, so the longer one decides.",
            lambda flops, nbytes, peak, bandwidth: (min(flops / peak, nbytes / bandwidth), None),
        ),
        Mistake(
            "A time is an amount divided by a rate. Here the rate is divided by the amount.",
            lambda flops, nbytes, peak, bandwidth: (max(peak / flops, bandwidth / nbytes), None),
        ),
        Mistake(
            "The time is right, but the two names are swapped: the work is bound by whatever takes longer.",
            lambda *arguments: (
                _least_time(*arguments)[0],
                "memory" if _least_time(*arguments)[1] == "arithmetic" else "arithmetic",
            ),
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 11.2 a timer


def _time_on_a_fresh_device(function, work, device, repeats):
    """work: seconds of one kernel. Every answer gets a device of its own, in the same state."""
    fresh = copy.deepcopy(device)
    return function(lambda: fresh.start(work), fresh, repeats)


def _seconds(work, device, repeats):
    work()
    device.synchronize()
    started = device.clock()
    for _ in range(repeats):
        work()
    device.synchronize()
    return (device.clock() - started) / repeats


def _timed(work, device, repeats, warm_up, wait_before, wait_after):
    if warm_up:
        work()
    if wait_before:
        device.synchronize()
    started = device.clock()
    for _ in range(repeats):
        work()
    if wait_after:
        device.synchronize()
    return (device.clock() - started) / repeats


exercise(
    "11.2",
    "A timer that does not lie",
    "my_seconds",
    reference=_seconds,
    cases=lambda generator: (
        (1e-3, PretendDevice(), 20),
        (1e-4, PretendDevice(compilation=1.5), 50),
        (2e-4, PretendDevice(busy_until=0.5, now=0.1), 20),  # something else is still in the queue
        (1e-4, PretendDevice(compilation=0.0), 50),
    ),
    returns="seconds",
    call=_time_on_a_fresh_device,
    tolerance=0.1,  # one wait for each launch is as good as one for all of them
    mistakes=[
        Mistake(
            "The clock was stopped before the device had finished: this is the time that launching takes. Wait for the "
            "device before you look at the clock the second time.",
            lambda work, device, repeats: _timed(work, device, repeats, True, True, False),
        ),
        Mistake(
            "The clock was stopped before the device had finished, and the first launch, which compiles, was timed "
            "with the others.",
            lambda work, device, repeats: _timed(work, device, repeats, False, False, False),
        ),
        Mistake(
            "The first launch compiles the kernel, and your time includes that. Launch once before the clock starts.",
            lambda work, device, repeats: _timed(work, device, repeats, False, True, True),
        ),
        Mistake(
            "The first launch compiles the kernel, and the work that was already in the queue is timed too. Launch "
            "once, and wait, before the clock starts.",
            lambda work, device, repeats: _timed(work, device, repeats, False, False, True),
        ),
        Mistake(
            "When the clock starts, the device still has work in its queue, which is then timed with yours. Wait for "
            "it before the clock starts as well.",
            lambda work, device, repeats: _timed(work, device, repeats, True, False, True),
        ),
        Mistake(
            "This is the time of all launches together. The time of one is asked for.",
            lambda work, device, repeats: _seconds(work, device, repeats) * repeats,
        ),
    ],
)


# ------------------------------------------------------------------------------------------ 11.3 counting bytes


def _bytes_moved(reads, elements, itemsize):
    passes = sum(reads) + len(reads)
    return passes * elements * itemsize, 2 * elements * itemsize


exercise(
    "11.3",
    "Counting bytes",
    "my_bytes_moved",
    reference=_bytes_moved,
    cases=lambda generator: (([1, 2, 1], 1000, 4), ([1, 1, 2, 2, 2, 1, 1, 1, 1, 2], 64 * 512 * 512, 2), ([1], 7, 8)),
    returns=("unfused", "fused"),
    mistakes=[
        Mistake(
            "Only the reads were counted. Every kernel also writes its result to memory, one array each.",
            lambda reads, elements, itemsize: (sum(reads) * elements * itemsize, None),
        ),
        Mistake(
            "Only one write was counted. Every kernel writes its result to memory, one array each.",
            lambda reads, elements, itemsize: ((sum(reads) + 1) * elements * itemsize, None),
        ),
        Mistake(
            "Each kernel was counted as one read and one write, but some read two arrays: add up `reads`.",
            lambda reads, elements, itemsize: (2 * len(reads) * elements * itemsize, None),
        ),
        Mistake(
            "These are numbers, not bytes: a number has `itemsize` bytes.",
            lambda reads, elements, itemsize: ((sum(reads) + len(reads)) * elements, None),
        ),
        Mistake(
            "The fused kernel reads its input and writes its output: two passes.",
            lambda reads, elements, itemsize: (_bytes_moved(reads, elements, itemsize)[0], elements * itemsize),
        ),
        Mistake(
            "The fused kernel reads its input once, however many steps it does with it in its registers.",
            lambda reads, elements, itemsize: (
                _bytes_moved(reads, elements, itemsize)[0],
                (sum(reads) + 1) * elements * itemsize,
            ),
        ),
        Mistake(
            "The fused kernel is one kernel: it reads its input once and writes its output once.",
            lambda reads, elements, itemsize: (
                _bytes_moved(reads, elements, itemsize)[0],
                2 * len(reads) * elements * itemsize,
            ),
        ),
    ],
)
