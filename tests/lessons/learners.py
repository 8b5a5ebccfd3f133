"""Wrong answers as learners write them, read from wrong_answers/lesson_NN.txt.

An entry begins with a line `### 2.2 what the learner did | words of the hint`; below it stand the cells as they are in
the notebook. The words are those that the hint must hold; "-" where no hint names the mistake (a general sentence may).
`| long` behind them marks those whose hint takes more than a tenth of a second to find: `hint_table.py` checks them.
"""

import linecache
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinymixer import ops
from tinymixer.lessons.exercise import find_exercise
from tinymixer.lessons.grading import examine

FOLDER = Path(__file__).parent / "wrong_answers"


@dataclass(frozen=True)
class WrongAnswer:
    """number: of the exercise; did: what the learner did; words: of the hint; source: the cells; name: for errors."""

    number: str
    did: str
    words: str
    source: str
    name: str
    long: bool = False

    def fault(self):
        """A sentence where the hint is not the one that was judged right for this answer, else ""."""
        verdict = examine(self.number, *self.functions())
        named = self.words != "-"
        if verdict.state == "wrong" and verdict.known == named and (not named or self.words in verdict.hint):
            return ""
        return f"{self.name} ({self.did}), expected {self.words!r}:\n{verdict}"

    def functions(self):
        """The learner's functions, made from the source as a notebook makes them."""
        return functions_of(self.number, self.source, f"<{self.name}>")


def functions_of(number, source, file):
    """The functions of an exercise that a cell's source defines."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)

    def gelu(value):
        return float(ops.gelu_tanh_forward(np.asarray(value))[0])

    names = {"np": np, "math": math, "ops": ops, "gelu": gelu, "__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    return [names[name] for name in find_exercise(number).functions]


def wrong_answers(pattern="lesson_*.txt"):
    """All entries of the files, in order."""
    found = []
    for path in sorted(FOLDER.glob(pattern)):
        for part in path.read_text(encoding="utf-8").split("### ")[1:]:
            head, _, source = part.partition("\n")
            about, words, *more = head.split(" | ")
            number, _, did = about.strip().partition(" ")
            place = len([one for one in found if one.number == number]) + 1
            found.append(
                WrongAnswer(number, did.strip(), words.strip(), source.strip() + "\n", f"{number} {place}", bool(more))
            )
    return found
