"""What belongs to the process (BLAS threads, a fork, a container's quota) as the cpu engine's threads meet it."""

import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from tinymixer import MixerConfig, MlpMixer
from tinymixer.engines.cpu import CpuMixer, default_threads, threads
from tinymixer.engines.cpu.quota import cpu_quota
from tinymixer.engines.cpu.threads import ThreadTeam


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture
def two_blas_threads():
    with threadpool_limits(limits=2, user_api="blas"):
        if min(blas_threads()) < 2:
            pytest.fail("this BLAS cannot be given two threads, so there is nothing to see")
        yield


@pytest.mark.usefixtures("two_blas_threads")
def test_two_teams_that_overlap_give_the_blas_threads_back():
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    within = []

    def first():
        ThreadTeam(1).run(lambda _: (first_in.set(), second_in.wait(10)))
        first_out.set()

    def work(_):
        second_in.set()
        first_out.wait(10)
        within.append(blas_threads())

    def second():
        first_in.wait(10)
        ThreadTeam(1).run(work)

    before = blas_threads()
    both = [threading.Thread(target=target) for target in (first, second)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert within == [[1] * len(before)]  # the second keeps its limit when the first leaves
    assert blas_threads() == before


@pytest.mark.usefixtures("two_blas_threads")
def test_a_limit_within_a_limit_and_an_error_give_the_blas_threads_back():
    before, team = blas_threads(), ThreadTeam(2)

    def fails(_):
        ThreadTeam(1).run(lambda _: None)
        assert blas_threads() == [1] * len(before)
        raise ArithmeticError("on purpose")

    with pytest.raises(ArithmeticError):
        team.run(fails)
    assert blas_threads() == before


@pytest.mark.usefixtures("two_blas_threads")
def test_a_second_training_takes_as_many_threads_as_the_first(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    assert default_threads() == 2
    assert ThreadTeam(1).run(lambda _: default_threads()) == [2]


@pytest.mark.usefixtures("two_blas_threads")
def test_work_that_has_one_thread_leaves_the_others_to_blas_unless_one_was_asked_for():
    before = blas_threads()
    asked = {count: ThreadTeam(count).run_on_one(lambda thread, item: (item, blas_threads()), 0, 7) for count in (1, 2)}
    assert asked == {1: (7, [1] * len(before)), 2: (7, before)}
    assert blas_threads() == before


def test_an_error_arrives_when_every_thread_has_ended():
    ended = []

    def work(thread):
        if thread == 0:
            raise ArithmeticError("on purpose")
        time.sleep(0.1)
        ended.append(thread)

    with pytest.raises(ArithmeticError):
        ThreadTeam(3).run(work)
    assert sorted(ended) == [1, 2]


def in_a_child(work):
    """The exit status of a forked child that runs work(); fails when it hangs."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    for _ in range(1200):  # a minute: on a busy machine it takes its time
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return pytest.fail("the forked child hangs")


needs_fork = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@needs_fork
def test_a_forked_child_computes_the_same():
    mixer = CpuMixer(MlpMixer(MixerConfig(num_blocks=1, hidden_dim=16)), threads=2)
    images = np.random.default_rng(0).standard_normal((64, 32, 32, 3), np.float32)
    expected = mixer.logits(images)
    assert in_a_child(lambda: np.array_equal(mixer.logits(images), expected)) == 0
    np.testing.assert_array_equal(mixer.logits(images), expected)  # and the parent's threads are as they were


@needs_fork
@pytest.mark.usefixtures("two_blas_threads")
def test_a_child_forked_during_a_step_has_its_blas_threads_and_can_limit_them():
    before = blas_threads()

    def the_limit_is_gone_and_works_anew():
        return blas_threads() == before and ThreadTeam(1).run(lambda _: blas_threads()) == [[1] * len(before)]

    inside, leave = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: ThreadTeam(1).run(lambda _: (inside.set(), leave.wait(30))))
    other.start()
    inside.wait(10)
    try:
        assert in_a_child(the_limit_is_gone_and_works_anew) == 0
    finally:
        leave.set()
        other.join()
    assert blas_threads() == before


def groups(tmp_path, membership, **files):
    """A folder like /sys/fs/cgroup and a file like /proc/self/cgroup."""
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "cgroup", tmp_path / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "300000 100000"}, 3),
        ("0::/of/the/host\n", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/../outside\n", {"cpu.max": "50000 100000"}, 0.5),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        (
            "2:memory:/m\n4:cpu,cpuacct:/docker/ab12\n",
            {
                "cpu,cpuacct/docker/ab12/cpu.cfs_quota_us": "100000",
                "cpu,cpuacct/docker/ab12/cpu.cfs_period_us": "50000",
            },
            2,
        ),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("", {}, None),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path, membership, files, cores):
    assert cpu_quota(*groups(tmp_path, membership, **files)) == cores


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path / "none", tmp_path / "none") is None


@given(st.floats(0.01, 100))
def test_no_more_threads_than_the_quota_has_cores_and_never_none(quota):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
        patch.setattr("threadpoolctl.threadpool_info", lambda: [{"user_api": "blas", "num_threads": 64}])
        patch.setattr(threads, "cpu_quota", lambda: quota)
        assert default_threads() == max(1, min(64, int(quota)))
