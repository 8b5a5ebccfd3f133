"""Outcomes survive damage, other processes and folders that cannot be written."""

import json
import os
import socket
import time

import pytest

from tinymixer.engines.cuda import outcomes as module
from tinymixer.engines.cuda.failures import is_lasting, is_users
from tinymixer.engines.cuda.memory_plan import BatchTooLargeError
from tinymixer.engines.cuda.outcomes import FAILED, PASSED, Outcomes
from tinymixer.errors import BackendError, ConfigError

KIND = {"device": {"name": "GPU"}, "model": {"sizes": (1, 2)}}


def stored(outcomes, **outcome):
    content = {"format": 1, "kind": outcomes.kind, "ways": {"captured": outcome}}
    outcomes.path.parent.mkdir(parents=True, exist_ok=True)
    outcomes.path.write_text(json.dumps(content))


def test_what_is_settled_is_known_at_the_next_start_and_to_others_of_its_kind_alone(tmp_path):
    first = Outcomes(tmp_path / "gpu", KIND)
    assert first.known("captured") is None
    first.begin("captured")
    first.settle("captured", FAILED, reason="it was wrong")
    first.settle("uncaptured", PASSED, seconds=0.1)
    second = Outcomes(tmp_path / "gpu", KIND)
    assert second.known("captured") == (FAILED, "it was wrong")
    assert second.known("uncaptured") == (PASSED, "")
    second.forget("captured")
    assert first.known("captured") is None
    other = Outcomes(tmp_path / "gpu", KIND | {"device": {"name": "another"}})
    assert other.known("uncaptured") is None
    assert other.path != first.path
    assert len(list((tmp_path / "gpu").iterdir())) == 1  # nothing half-written is left


def test_a_start_in_progress_is_no_failure_while_its_process_lives(tmp_path):
    outcomes, here = Outcomes(tmp_path, KIND), socket.gethostname()
    outcomes.begin("captured")
    assert Outcomes(tmp_path, KIND).known("captured") is None  # this process, perhaps in another thread
    outcomes.forget("captured")
    parent, now = os.getppid(), time.time()
    for process, machine, when, dead in (
        (parent, here, now, False),
        (os.getpid(), here, now, True),  # the number was another process's before
        (parent, here, now - 601, True),
        (1, "elsewhere", now, False),
        (1, "elsewhere", now - 601, True),
        (-1, here, now, True),
        ("x", here, now, True),
        (parent, here, None, True),
    ):
        stored(outcomes, status="trying", process=process, machine=machine, time=when)
        assert (outcomes.known("captured") is not None) is dead, (process, machine, when)
    assert outcomes.known("captured") == (FAILED, "the program ended while it was checked")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "null", '{"format": 2}', '{"format": 1, "kind": {}, "ways": 3}', "[" * 9999]
)
def test_a_damaged_file_counts_as_empty_and_is_replaced(tmp_path, content):
    outcomes = Outcomes(tmp_path, KIND)
    outcomes.path.write_text(content)
    assert outcomes.known("captured") is None
    outcomes.settle("captured", PASSED)
    assert Outcomes(tmp_path, KIND).known("captured") == (PASSED, "")


def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_it(tmp_path):
    file = tmp_path / "a file"
    file.write_text("")
    outcomes = Outcomes(file / "gpu", KIND)
    outcomes.begin("captured")
    outcomes.settle("captured", PASSED)
    assert outcomes.known("captured") == (PASSED, "")
    assert outcomes.report("captured", "text") is None


def test_a_change_of_the_sources_makes_another_kind(monkeypatch):
    digest = module._own_source()
    assert len(digest) == 12
    assert digest == module._own_source()


def test_which_failures_last_and_which_are_the_users():
    for error in (MemoryError(), RuntimeError("cudaErrorMemoryAllocation: out of memory"), OSError(), ImportError(),
                  RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), BackendError("cannot be compiled")):  # fmt: skip
        assert not is_lasting(error)
    for error in (RuntimeError("cudaErrorIllegalAddress"), TypeError(), AssertionError()):
        assert is_lasting(error)
    assert is_users(BatchTooLargeError())
    assert is_users(ConfigError())
    assert not is_users(BackendError())
    assert not is_users(RuntimeError())
