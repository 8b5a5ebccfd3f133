"""The learner's own functions of lessons 02 to 09, from their notebooks: which are right, and a backend made of them.

    from tinymixer.lessons import my_functions

    mine = my_functions(".")
    print(mine.report())
    model = MlpMixer(config, backend=mine.backend())

Each function is first held to the package's in a separate process with limits (`isolated.py`). Only those that are
right there are made in this process; the package's stand in for all others.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinymixer.abilities import thread_pool
from tinymixer.backend import Backend
from tinymixer.errors import DataError, TrainingError
from tinymixer.lessons.answers import Place, grade, write_files
from tinymixer.lessons.capstone import EPOCHS, NO_EXERCISE, PARTS, Part, Trained, backend_with, train
from tinymixer.lessons.course import LESSONS
from tinymixer.lessons.exercise import find_exercise
from tinymixer.lessons.grading import MARKS, NOT_YET, PASSED, WRONG, Verdict
from tinymixer.lessons.isolated import Patience, grade_notebook, train_in_a_process
from tinymixer.lessons.notebook import EVERYTHING, read_notebook
from tinymixer.lessons.progress import SIDE_BY_SIDE, notebook_of
from tinymixer.lessons.running import message_of
from tinymixer.text import counted

EACH, ALTOGETHER = (20.0, 10.0, 5.0), 90.0  # seconds that functions may take, as `Patience` has it
AS_CLOSE = 1e-3  # relative difference of two losses that rounding explains: it grows from step to step
WHERE = (
    "Give the folder that holds your notebooks of lessons 02 to 09, my_functions('...'). In Colab, upload them beside "
    "this one (the folder symbol on the left) or name their folder on your Drive."
)


@dataclass(frozen=True)
class Finding:
    """What was found about one of the functions. state: "passed", "wrong", or "not yet" where there is none."""

    part: Part
    state: str
    sentence: str
    details: dict[str, str] = field(default_factory=dict)
    hint: str = ""

    @property
    def note(self) -> str:
        return self.details.get("note", "")

    def __str__(self) -> str:
        lines = [f"{MARKS[self.state]} {self.part.number} {self.part.function:<29} {self.sentence}"]
        labelled = self.details | {"hint": self.hint}
        return "\n".join(lines + [f"    {label:<8}  {text}" for label, text in labelled.items() if text])


@dataclass(frozen=True)
class MyFunctions:
    """A learner's functions, each held to the package's on the inputs of real training steps.

    folder     where their notebooks were sought
    findings   one per function that training could use
    functions  exercise -> the function, where it is right
    trouble    a sentence where no notebook was found; "" otherwise
    """

    folder: Path
    findings: list[Finding]
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    trouble: str = ""

    def in_state(self, state: str) -> list[str]:
        """The names of the functions in that state."""
        return [finding.part.function for finding in self.findings if finding.state == state]

    def operations(self) -> dict[str, Callable[..., Any]]:
        """The operations of `tinymixer.ops` that the right functions stand in for."""
        return {
            part.operation: part.adapted(self.functions[part.number]) for part in PARTS if part.number in self.functions
        }

    def backend(self, **operations: Callable[..., Any]) -> Backend:
        """A backend of the functions that are right, and the package's for the others.

        operations   more that are replaced, by their names in `tinymixer.ops`: `layer_norm_backward=...`
        """
        return backend_with(**self.operations() | operations)

    def report(self) -> str:
        """A line per function, and whose the network is."""
        lines = [self.trouble, ""] if self.trouble else []
        lines += map(str, self.findings)
        return "\n".join([*lines, "", self.summary()])

    def summary(self) -> str:
        """Whose functions train, in one or two lines."""
        yours, others = self.in_state(PASSED), [one.part.function for one in self.findings if one.state != PASSED]
        if not yours:
            return f"yours: 0 of {len(self.findings)}; all are the package's"
        packages = f"{NO_EXERCISE} (no exercise asks for it)"
        if others:
            packages = f"{', '.join(others)}, and {packages}"
        lines = [f"yours: {len(yours)} of {len(self.findings)}; the package's: {packages}"]
        if wrong := self.in_state(WRONG):
            differ = f"{' and '.join(wrong)} {'differs' if len(wrong) == 1 else 'differ'}"
            lines.append(f"{differ} from the package's, which {'trains' if len(wrong) == 1 else 'train'} instead.")
        return "\n".join(lines)


def my_functions(folder: "str | Path" = ".") -> MyFunctions:
    """The functions in the notebooks of a folder, each held to the package's.

    Where the folder holds none of the notebooks, all functions are the package's, and the report says so.
    """
    try:
        return with_functions(*collect(Path(folder)))
    except DataError as error:
        return MyFunctions(Path(folder), [_none(part, "no notebook") for part in PARTS], trouble=f"{error} {WHERE}")


def collect(folder: Path) -> tuple[MyFunctions, dict[Path, list[Place]]]:
    """What is found about each function, without making any of them in this process.

    Also, per notebook, the statements that never end. Raises DataError where the folder holds none of the notebooks.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    notebooks = _notebooks(folder)
    if not notebooks:
        raise DataError(
            f"There is no notebook of lessons 02 to 09 in {folder.absolute()}: expected 02_linear.ipynb and so on."
        )
    verdicts, never_ending = _examined(notebooks)
    findings = []
    for part in PARTS:
        lesson = LESSONS[find_exercise(part.number).lesson]
        if verdict := verdicts.get(part.number):
            hint = "" if verdict.passed else verdict.hint
            findings.append(Finding(part, verdict.state, _sentence(verdict), verdict.details, hint))
        elif any(part in parts for parts in notebooks.values()):
            findings.append(_none(part, "the notebook has no such function"))
        else:
            findings.append(_none(part, f"{lesson.stem}.ipynb is not there"))
    return MyFunctions(folder, findings), never_ending


def _none(part: Part, why: str) -> Finding:
    return Finding(part, NOT_YET, f"{why}: the package's is used")


def _sentence(verdict: Verdict) -> str:
    if verdict.state == NOT_YET:
        return "not yet: the package's is used"
    return verdict.sentence if verdict.passed else f"differs from the package's in training: {verdict.sentence}"


def _notebooks(folder: Path) -> dict[Path, list[Part]]:
    """The notebooks that are in the folder, and the functions that each should have."""
    found: dict[Path, list[Part]] = {}
    for part in PARTS:
        if path := notebook_of(LESSONS[find_exercise(part.number).lesson], folder):
            found.setdefault(path, []).append(part)
    return found


def _examined(notebooks: dict[Path, list[Part]]) -> tuple[dict[str, Verdict], dict[Path, list[Place]]]:
    patience = Patience(EACH, ALTOGETHER)
    never_ending: dict[Path, list[Place]] = {path: [] for path in notebooks}
    with thread_pool(SIDE_BY_SIDE) as pool:
        try:
            graded = [
                pool.submit(grade_notebook, path, numbers, patience, "training", never_ending[path])
                for path, parts in notebooks.items()
                if (numbers := _defined(path, parts))
            ]
            return {number: verdict for one in graded for number, verdict in one.result().items()}, never_ending
        except BaseException:
            patience.cancelled.set()  # Ctrl-C: the processes are ended before this one goes on
            raise


def _defined(path: Path, parts: list[Part]) -> list[str]:
    """The exercises whose functions the notebook defines; all of them where it cannot be read in full."""
    with contextlib.suppress(DataError):
        notebook = read_notebook(path)
        bound = {name for one in notebook.statements for name in one.binds}
        if not notebook.troubles and EVERYTHING not in bound:
            return [part.number for part in parts if part.function in bound]
    return [part.number for part in parts]


def with_functions(found: MyFunctions, never_ending: dict[Path, list[Place]]) -> MyFunctions:
    """The same with the functions themselves: those that are right are made in this process."""
    right = set(found.in_state(PASSED))
    functions: dict[str, Callable[..., Any]] = {}
    for path, parts in _notebooks(found.folder).items():
        numbers = [part.number for part in parts if part.function in right]
        if numbers:
            functions |= made(path, numbers, dict.fromkeys(never_ending.get(path, []), "It never ends."))
    return MyFunctions(found.folder, found.findings, functions)


def made(path: Path, numbers: list[str], skip: dict[Place, str]) -> dict[str, Callable[..., Any]]:
    """Run the statements that these exercises need, and take the functions as they are where they are checked."""
    made: dict[str, Callable[..., Any]] = {}

    def take(number: str, *functions: Callable[..., Any]) -> Verdict:
        made[number] = functions[0]
        return Verdict(number, "", PASSED, "", {})

    notebook = read_notebook(path)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _imports_from(folder, str(path.parent)):
        write_files(notebook, Path(folder))
        for _ in grade(notebook, numbers, skip, examine=take):
            pass
    return made


@contextlib.contextmanager
def _imports_from(*folders: str) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = before


# --- Training with them, beside the package ---


@dataclass(frozen=True)
class Comparison:
    """Two trainings from the same first weights on the same batches: with the learner's functions, and the package's.

    steps   that the training with yours has taken
    loss, accuracy   the mean loss of the last epoch and the share of the test images; None where training was cut short
    largest_difference   of the losses, relative, over these steps
    trouble   a sentence where training ended early; "" otherwise
    """

    steps: int = 0
    loss: float | None = None
    package_loss: float | None = None
    accuracy: float | None = None
    package_accuracy: float | None = None
    largest_difference: float | None = None
    trouble: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the two trainings differ by no more than rounding explains, as far as both went."""
        ended_by_itself = self.trouble.startswith("it ")
        return not ended_by_itself and self.largest_difference is not None and self.largest_difference <= AS_CLOSE

    def __str__(self) -> str:
        lines = []
        if self.package_loss is not None and self.package_accuracy is not None:
            lines.append(f"{'':<14}{'loss':>12}{'test accuracy':>16}")
            if self.loss is not None and self.accuracy is not None:
                lines.append(f"{'yours':<14}{self.loss:>12.7f}{self.accuracy:>16.2%}")
            lines.append(f"{'the package':<14}{self.package_loss:>12.7f}{self.package_accuracy:>16.2%}")
        if self.largest_difference == 0:
            lines.append(f"Over {counted(self.steps, 'step')} the losses are the same to the last bit.")
        elif self.largest_difference is not None:
            lines.append(
                f"Over {counted(self.steps, 'step')} the losses differ by at most {self.largest_difference:.0e} of "
                f"their size, {'as rounding explains' if self.agrees else 'more than rounding explains'}."
            )
        if self.trouble:
            lines.append(f"The training with yours was cut short: {self.trouble}")
        elif not self.agrees:
            lines.append(
                "Each function is right on the inputs that were tried, and still one of them differs later. Give the "
                "package's for half of them, compare again, and go on with the half in which the fault is."
            )
        return "\n".join(lines)


def compare_trainings(
    backend: Backend,
    epochs: int = EPOCHS,
    after_step: Callable[[int, float], Any] = lambda step, loss: False,
    before_yours: Callable[[], Any] = lambda: None,
) -> Comparison:
    """Train with the package's functions, then with those of this backend.

    after_step     called at each step of both; the second training ends early where it returns True
    before_yours   called between the two
    """

    def in_the_packages(step: int, loss: float) -> bool:
        after_step(step, loss)
        return False

    packages = train(epochs=epochs, after_step=in_the_packages)
    before_yours()
    losses: list[float] = []
    trouble = ""

    def note_and_ask(step: int, loss: float) -> Any:
        losses.append(loss)
        return after_step(step, loss)

    try:
        yours = train(backend, epochs, after_step=note_and_ask)
    except (Exception, SystemExit) as error:  # the learner's code may raise anything
        said = str(error) if isinstance(error, TrainingError) else message_of(error)
        trouble, yours = f"it ended at step {len(losses) + 1}: {said}", Trained(packages.model, losses)
    return compare(packages, yours, trouble)


def compare(packages: Trained, yours: Trained, trouble: str = "") -> Comparison:
    """Two trainings side by side. trouble: how yours ended, where it ended early."""
    steps, complete = len(yours.losses), len(yours.losses) == len(packages.losses) and not trouble
    if not complete and not trouble:
        trouble = f"the time was over after {counted(steps, 'step')} of {len(packages.losses)}."
    differences = [abs(one - other) / abs(one) for one, other in zip(packages.losses, yours.losses, strict=False)]
    return Comparison(
        steps=steps,
        loss=yours.loss if complete else None,
        package_loss=packages.loss,
        accuracy=yours.test_accuracy() if complete else None,
        package_accuracy=packages.test_accuracy(),
        largest_difference=max(differences, default=None),
        trouble=trouble,
    )


def compare_in_a_process(
    found: MyFunctions, never_ending: dict[Path, list[Place]], epochs: int = EPOCHS, altogether: float = ALTOGETHER
) -> Comparison:
    """`compare_trainings` with the functions that are right, in a process with limits; they are made there alone."""
    right = set(found.in_state(PASSED))
    notebooks = [
        [str(path.absolute()), [part.number for part in parts if part.function in right], never_ending.get(path, [])]
        for path, parts in _notebooks(found.folder).items()
    ]
    fields = train_in_a_process([one for one in notebooks if one[1]], epochs, EACH[0], altogether)
    return Comparison(**fields)
