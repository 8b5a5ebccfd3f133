"""What ranks tell each other, with threads in the place of processes."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parallel.thread_ranks import on_ranks
from tinymixer.errors import TrainingError
from tinymixer.parallel.launched import UNKNOWN, Launched, launched_here
from tinymixer.parallel.ranks import ONE_RANK, share_of_cores, share_out
from tinymixer.parallel.watchdog import Watchdog


@given(st.integers(0, 1000), st.integers(1, 40))
def test_shares_cover_everything_once_and_differ_by_one_at_most(count, size):
    shares = [share_out(count, rank, size) for rank in range(size)]
    assert [i for share in shares for i in range(count)[share]] == list(range(count))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_a_sum_adds_vectors_in_place_and_numbers_in_the_ranks_order():
    values = [np.array([1e8, 1.0, -3.0], np.float32), np.array([-1e8, 0.1, 5.0], np.float32)]
    values.append(np.array([0.3, 1e-8, 7.0], np.float32))

    def work(ranks):
        vector, statistics = values[ranks.rank].copy(), np.full(2, ranks.rank, np.float32)
        loss, correct = ranks.sum_together([vector, statistics], 0.5, ranks.rank)
        return vector, statistics, float(loss), int(correct)

    expected = (values[0] + values[1]) + values[2]
    for vector, statistics, loss, correct in on_ranks(3, work):
        np.testing.assert_array_equal(vector, expected)
        np.testing.assert_array_equal(statistics, [3, 3])
        assert (loss, correct) == (1.5, 3)


def test_one_rank_gives_back_what_it_was_given():
    vector = np.arange(3.0)
    assert ONE_RANK.sum_together([vector], 0.25, 7) == (0.25, 7)
    np.testing.assert_array_equal(vector, [0, 1, 2])
    assert ONE_RANK.part(10) == slice(0, 10)
    assert ONE_RANK.first(lambda: 5) == 5
    assert ONE_RANK.gather("x") == ["x"]
    assert ONE_RANK.stop_agreed(True)
    assert not ONE_RANK.stop_agreed(False)
    ONE_RANK.require_same({"x": "1"}, "")


def test_a_request_to_stop_travels_with_the_next_sum():
    def work(ranks):
        answers = [ranks.stop_agreed(ranks.rank == 1)]
        ranks.sum_together([np.zeros(1)], 0.0)
        answers.append(ranks.stop_agreed(False))
        return answers

    assert on_ranks(3, work) == [[False, True]] * 3


def test_a_request_to_stop_travels_without_a_sum_where_sums_stay_on_the_gpu():
    def work(ranks):
        ranks.stop_agreed(ranks.rank == 2)
        ranks.exchange_requests()
        return ranks.stop_agreed(False)

    assert on_ranks(3, work) == [True] * 3


def test_only_the_first_works_and_all_get_its_result():
    callers = []

    def work(ranks):
        return ranks.first(lambda: callers.append(ranks.rank) or "done")

    assert on_ranks(3, work) == ["done"] * 3
    assert callers == [0]


@pytest.mark.parametrize("error", [TrainingError("the disk is full"), KeyError("odd")])
def test_an_error_of_the_first_is_raised_by_all(error):
    def fail():
        raise error

    def work(ranks):
        with pytest.raises(Exception, match=r"disk is full|odd") as caught:
            ranks.first(fail)
        return type(caught.value)

    found = on_ranks(2, work)
    assert found[0] is type(error)
    assert found[1] is TrainingError


def test_a_difference_names_what_and_who():
    def work(ranks):
        ranks.require_same({"the version": "1"}, "start again")
        with pytest.raises(TrainingError) as caught:
            ranks.require_same({"the recipe": f"a = 1\nb = {max(1, ranks.rank)}"}, "start again")
        return str(caught.value)

    assert (
        on_ranks(4, work)
        == ["the ranks differ in the recipe: rank 0 has b = 1, rank 2 b = 2 (and 1 more ranks): start again"] * 4
    )


@pytest.mark.parametrize(
    ("masks", "threads"),
    [
        ([{0, 1}, {0, 1}], [1, 1]),
        ([{0}, {1}], [1, 1]),
        ([{0, 1, 2, 3}, {0, 1, 2, 3}], [2, 2]),
        ([{0, 1}, {2, 3}], [2, 2]),
        ([{0}, {0}, {0}], [1, 1, 1]),
        ([set(range(8)), {0, 1}], [7, 1]),
    ],
)
def test_cores_are_shared_by_those_that_may_use_them(masks, threads):
    frozen = [frozenset(mask) for mask in masks]
    assert [share_of_cores(frozen, rank) for rank in range(len(masks))] == threads


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, Launched("mpiexec", 1, 4)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "3"}, Launched("mpirun", 3, 4)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8"}, Launched("srun", 2, 8)),
        # a batch script: the job has eight tasks, but srun has not started any
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),
        # srun -n 1 in it
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1", "PMIX_RANK": "0"}, None),
        ({"PMIX_RANK": "2"}, Launched("a PMIx launcher", 2, UNKNOWN)),
        ({"PMI_RANK": "five", "PMI_SIZE": "4"}, None),
        ({"PMI_RANK": "1", "PMI_SIZE": "4", "TINYMIXER_PARALLEL": "off"}, None),
    ],
)
def test_launchers_are_known_by_the_environment(environment, found):
    assert launched_here(environment) == found


def test_the_watchdog_ends_a_wait_that_takes_too_long_and_no_other():
    heard, ended = [], threading.Event()
    watchdog = Watchdog(lambda what, seconds: (heard.append(what), ended.set()), longest=0.15, every=0.01)
    for _ in range(10):
        with watchdog.watching("short ones"):
            pass
    ended.wait(0.2)
    assert not heard
    with watchdog.watching("a sum"):
        assert ended.wait(5)
    assert heard == ["a sum"]


def test_the_watchdog_ends_a_wait_in_which_something_failed():
    heard, ended = [], threading.Event()
    watchdog = Watchdog(
        lambda what, seconds: (heard.append(what), ended.set()), longest=60, check=lambda: "NCCL failed", every=0.01
    )
    with watchdog.watching("a sum"):
        assert ended.wait(5)
    assert heard == ["NCCL failed"]
