"""A small class: folders with a hostile item each, graded through the command."""

from tests.lessons.class_of_learners import HOSTILE, LARGEST_SECONDS, grade, make_class


def test_a_hostile_item_has_its_sentence_and_every_other_row_is_right(tmp_path):
    for learner in make_class(tmp_path, ["exit", "damaged"], lessons={"01", "01b", "02", "03"}):
        seconds, wrong = grade(learner)
        assert not wrong
        assert seconds < LARGEST_SECONDS
    assert {"loop", "output", "memory"} <= HOSTILE.keys()  # test_isolated.py has these, faster
