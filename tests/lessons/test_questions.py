"""Each lesson asks three questions about what came before, one of them from further back, and five at its end."""

import json
import re
from pathlib import Path

import pytest

from tinymixer.lessons.course import LESSONS

FOLDER = Path(__file__).parents[2] / "lessons"
NUMBERS = [lesson.number for lesson in LESSONS]
QUESTION = re.compile(r"\*\*(\d)\.\*\* (.+?)\n\n<details><summary>Answer</summary>\n\n(.+?)\n\n</details>", re.DOTALL)


def questions(number, title):
    """Pairs (question, answer) of the one cell with this title, as the exercise notebook has it."""
    cells = json.loads((FOLDER / f"{LESSONS[number].stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    (text,) = [text for text in texts if text.startswith(f"## {title}\n")]
    found = QUESTION.findall(text)
    assert [int(place) for place, _, _ in found] == list(range(1, len(found) + 1))
    assert not QUESTION.sub("", text.removeprefix(f"## {title}")).strip(), "something that is no question"
    return [(question, answer) for _, question, answer in found]


@pytest.mark.parametrize("number", NUMBERS)
def test_three_questions_lead_back_to_earlier_lessons(number):
    asked = questions(number, "Before you begin")
    assert len(asked) == 3
    if number == NUMBERS[0]:
        return
    named = [re.search(r"\(lesson (\w+)\)$", question) for question, _ in asked]
    places = [NUMBERS.index(found[1]) for found in named if found]
    here = NUMBERS.index(number)
    assert len(places) == 3
    assert max(places) < here
    assert min(places) <= max(0, here - 2), "one of them from further back"


@pytest.mark.parametrize("number", NUMBERS)
def test_five_questions_end_a_lesson_and_each_answer_gives_a_reason(number):
    asked = questions(number, "Questions")
    assert len(asked) == 5
    assert all(len(answer.split()) >= 15 for _, answer in asked)
