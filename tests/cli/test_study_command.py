"""tinymixer study, seen from outside."""

import json

import pytest

from tinymixer.studies import permutations


@pytest.fixture
def one_model(monkeypatch):
    monkeypatch.setattr(permutations, "MODELS", {"mixer": {}})


def test_a_study_says_what_it_found_and_where_it_is(tinymixer, tmp_path, one_model):
    options = ("study", "permutations", "--quick", "--steps", 2, "--seeds", 1, "--jobs", 1)
    outcome = tinymixer(*options)
    assert outcome.code == 0, outcome.err
    assert "logits differ by" in outcome.out
    assert "5 of 5 parts finished" in outcome.out
    folder = tmp_path / "studies" / "permutations-quick"
    assert json.loads((folder / "numbers.json").read_text())["complete"]
    again = tinymixer(*options, "--quiet")
    assert (again.code, "5 of 5 parts finished" in again.out, "1/5" in again.out) == (0, True, False)


def test_studies_are_listed_and_others_refused(tinymixer):
    listed = tinymixer("study", "list")
    assert all(name in listed.out for name in ("inside", "permutations", "token-mixers", "data", "transfer"))
    assert tinymixer("study").out == listed.out
    assert tinymixer("study", "insides").is_error("Did you mean 'inside'")
    assert tinymixer("study", "inside", "--quick", "--data", ".").is_error("--quick")
    assert tinymixer("study", "data", "--init-from", "first-mixer").is_error("starts from no weights")
    assert tinymixer("study", "transfer", "--init-from", "nowhere.npz").is_error("no checkpoint nowhere.npz")


def test_a_failed_part_is_in_the_exit_code(tinymixer, monkeypatch, one_model):
    def stumble(form, seed):
        return {"quotient": 1 / 0}

    monkeypatch.setattr(permutations, "exactness", stumble)
    outcome = tinymixer("study", "permutations", "--quick", "--steps", 2, "--seeds", 1, "--jobs", 1)
    assert outcome.code == 1
    assert "4 of 5 parts finished (1 failed)" in outcome.out
    assert "ZeroDivisionError" in outcome.out
