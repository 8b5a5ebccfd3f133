"""Wrong answers to lesson 11, as a learner would write them, and words of the hint that each must get."""

import math

import numpy as np


def gelu(value):
    return 0.5 * value * (1 + math.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))


def one_after_the_other(flops, nbytes, peak, bandwidth):
    arithmetic = flops / peak
    memory = nbytes / bandwidth
    return arithmetic + memory, "memory" if memory >= arithmetic else "arithmetic"


def the_shorter_one(flops, nbytes, peak, bandwidth):
    times = np.array([flops / peak, nbytes / bandwidth])
    return times.min(), ("arithmetic", "memory")[times.argmin()]


def names_exchanged(flops, nbytes, peak, bandwidth):
    if flops / peak > nbytes / bandwidth:
        return flops / peak, "memory"
    return nbytes / bandwidth, "arithmetic"


def clock_around_the_launches(work, device, repeats):
    start = device.clock()
    for _ in range(repeats):
        work()
    return (device.clock() - start) / repeats


def warmed_up_but_never_waited(work, device, repeats):
    work()
    device.synchronize()
    start = device.clock()
    for _ in range(repeats):
        work()
    stop = device.clock()
    device.synchronize()
    return (stop - start) / repeats


def compilation_timed(work, device, repeats):
    device.synchronize()
    start = device.clock()
    for _ in range(repeats):
        work()
        device.synchronize()
    return (device.clock() - start) / repeats


def queue_not_empty(work, device, repeats):
    work()
    start = device.clock()
    for _ in range(repeats):
        work()
    device.synchronize()
    return (device.clock() - start) / repeats


def not_divided(work, device, repeats):
    work()
    device.synchronize()
    start = device.clock()
    for _ in range(repeats):
        work()
    device.synchronize()
    return device.clock() - start


def only_reads(reads, elements, itemsize):
    return elements * itemsize * np.sum(reads), 2 * elements * itemsize


def one_read_each(reads, elements, itemsize):
    total = 0
    for _ in reads:
        total += elements * itemsize + elements * itemsize
    return total, 2 * elements * itemsize


def fused_writes_only(reads, elements, itemsize):
    return elements * itemsize * (sum(reads) + len(reads)), itemsize * elements


def fused_still_many(reads, elements, itemsize):
    array = elements * itemsize
    return array * sum(r + 1 for r in reads), array * 2 * len(reads)


def rounded_down(size, threads_per_block):
    return int(size / threads_per_block)


def always_one_more(size, threads_per_block):
    return 1 + size // threads_per_block


def with_fraction(size, threads_per_block):
    return np.divide(size, threads_per_block)


def no_guard(block, thread, threads_per_block, x, bias, y):
    index = threads_per_block * block + thread
    y[index] = gelu(x[index] + bias[index % bias.size])


def guard_off_by_one(block, thread, threads_per_block, x, bias, y):
    index = threads_per_block * block + thread
    if index > x.size:
        return
    y[index] = gelu(x[index] + bias[index % bias.size])


def without_block(block, thread, threads_per_block, x, bias, y):
    if thread < x.size:
        y[thread] = gelu(x[thread] + bias[thread % bias.size])


def bias_by_row(block, thread, threads_per_block, x, bias, y):
    index = threads_per_block * block + thread
    if index < x.size:
        y[index] = gelu(x[index] + bias[index // bias.size])


def bias_by_thread(block, thread, threads_per_block, x, bias, y):
    index = threads_per_block * block + thread
    if index < x.size:
        y[index] = gelu(x[index] + bias[thread % bias.size])


def everything_everywhere(block, thread, threads_per_block, x, bias, y):
    for index in range(x.size):
        y[index] = gelu(x[index] + bias[index % bias.size])


def cut_off(x):
    bits = x.view(np.uint32)
    return ((bits >> 16) << 16).view(np.float32)


def ties_away_from_zero(x):
    bits = x.view(np.uint32) + np.uint32(1 << 15)
    return (bits >> 16 << 16).view(np.float32)


def half_precision(x):
    return np.float32(np.float16(x))


def left_as_bits(x):
    bits = x.view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return bits & 0xFFFF0000


WRONG_ANSWERS = {
    "11.1": [
        (one_after_the_other, "The two times are added"),
        (the_shorter_one, "the shorter of the two"),
        (names_exchanged, "the two names are exchanged"),
    ],
    "11.2": [
        (clock_around_the_launches, "before the device had finished, and the first launch"),
        (warmed_up_but_never_waited, "the time that launching takes"),
        (compilation_timed, "The first launch compiles"),
        (queue_not_empty, "still has work in its queue"),
        (not_divided, "all the launches together"),
    ],
    "11.3": [
        (only_reads, "Only what is read was counted"),
        (one_read_each, "some read two arrays"),
        (fused_writes_only, "two passes"),
        (fused_still_many, "The fused kernel is one kernel"),
    ],
    "11.4": [
        (rounded_down, "rounded down"),
        (always_one_more, "a block too many"),
        (with_fraction, "a quotient with a fraction"),
    ],
    "11.5": [
        (no_guard, "The guard for the tail is missing"),
        (guard_off_by_one, "one thread too many through"),
        (without_block, "does not know its block"),
        (bias_by_row, "picked by the row"),
        (bias_by_thread, "picked by the thread"),
        (everything_everywhere, "One thread has one element"),
    ],
    "11.6": [
        (cut_off, "without rounding"),
        (ties_away_from_zero, "always move away from zero"),
        (half_precision, "This is float16"),
        (left_as_bits, "what came back are whole numbers"),
    ],
}
