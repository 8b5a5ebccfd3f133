"""The learner's progress as a table in a notebook's cell."""

import html
import sys
from pathlib import Path

from tinymixer.errors import TinymixerError
from tinymixer.lessons.copies import remark_about
from tinymixer.lessons.grading import MARKS, NOT_YET, PASSED, WRONG
from tinymixer.lessons.isolated import remark_about_limits
from tinymixer.lessons.progress import LessonState, grade_folder, progress_text, summary
from tinymixer.lessons.text import encodable

COLUMNS = {PASSED: "right", WRONG: "wrong", NOT_YET: "to do"}
IN_COLAB = (
    " Colab keeps your copies in Drive: run `from google.colab import drive; drive.mount('/content/drive')`, then "
    "`show_progress('/content/drive/MyDrive/Colab Notebooks')`, or the folder in which yours are."
)


def show_progress(folder: str | Path = ".") -> None:
    """Check every exercise in a folder of lessons and show what is right, wrong and still to do.

    A table in a notebook; elsewhere, and where HTML cannot be shown, the text of `tinymixer lessons status`. Saved
    notebooks are read: save yours first.
    """
    try:
        states = grade_folder(Path(folder))
    except TinymixerError as error:
        print(encodable(str(error) + IN_COLAB * ("google.colab" in sys.modules), sys.stdout))
        return
    remark = " ".join(filter(None, [remark_about(Path(folder)), remark_about_limits()]))
    text = progress_text(states) + f"\n{remark}" * bool(remark)
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        print(encodable(text, sys.stdout))
        return
    from IPython.display import display

    display({"text/html": progress_page(states, remark), "text/plain": text}, raw=True)


def progress_page(states: list[LessonState], remark: str = "") -> str:
    """A table with the exercises' numbers under "right", "wrong" and "to do", and what is wrong folded below it.

    The words are in the header, which a screen reader says with each cell; the marks only stand beside them.
    """
    head = "".join(f'<th scope="col">{MARKS[state]} {word}</th>' for state, word in COLUMNS.items())
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left">{state.lesson.number} {html.escape(state.lesson.title)}</th>'
        f'<td style="white-space: nowrap">{state.done} of {len(state.verdicts)}</td>'
        + "".join(f"<td>{_numbers(state, kind)}</td>" for kind in COLUMNS)
        + "</tr>"
        for state in states
    )
    caption = html.escape(summary(states).replace("\n", "; "))
    wrong = [verdict for state in states for verdict in state.verdicts if verdict.state == WRONG]
    details = "".join(
        f"<details><summary>{html.escape(f'{verdict.number} {verdict.title}: {verdict.sentence}')}</summary>"
        f"<pre>{html.escape(str(verdict))}</pre></details>"
        for verdict in wrong
    )
    return (
        f'<table><caption>{caption}</caption><thead><tr><th scope="col">lesson</th><th scope="col">done</th>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table>{details}" + f"<p>{html.escape(remark)}</p>" * bool(remark)
    )


def _numbers(state: LessonState, kind: str) -> str:
    return ", ".join(verdict.number for verdict in state.verdicts if verdict.state == kind) or "none"
