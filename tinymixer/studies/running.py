"""Runs the parts of a study, several at a time, and writes its numbers and pictures."""

import dataclasses
import signal
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymixer.backend import get_backend
from tinymixer.engines.cpu.threads import default_threads
from tinymixer.studies.numbers import FAILED, FINISHED, MISSING, Numbers, PartResult
from tinymixer.studies.part import HowFar, read_result, run_part, write_result
from tinymixer.studies.plan import begin
from tinymixer.studies.study import Form, Part, Study
from tinymixer.studies.written import write_numbers
from tinymixer.sweeps.worker import WorkerProcess
from tinymixer.training.folder_lock import FolderLock
from tinymixer.training.stop import StopSignals

BETWEEN_LOOKS = 0.2  # seconds


class StudyProgress:
    """A study calls these methods; here they do nothing. Override the ones that you want to show."""

    def on_part(self, result: PartResult, done: int, parts: int) -> None:
        """When a part has ended: its result, and how many parts of the study have ended so far."""

    def on_time(self, share: float, seconds_left: float | None) -> None:
        """Several times a second: the share of the study that is done, and the time that the rest may take."""

    def on_note(self, text: str) -> None:
        """Receives a sentence, such as that a picture cannot be drawn."""


@dataclass(frozen=True)
class StudyOutcome:
    """How a call of `run_study` ended.

    signal      that ended it before all parts were done; None
    pictures    the names of the pictures in its folder
    """

    folder: Path
    results: Sequence[PartResult]
    conclusions: Sequence[str]
    pictures: Sequence[str]
    signal: int | None = None


def usual_jobs(form: Form) -> int:
    """How many parts run at once where nobody says: one per core, and one where there is a GPU."""
    if not form.quick and get_backend("auto").name == "cupy":
        return 1
    return default_threads()


def part_folder(folder: Path, part: Part) -> Path:
    return folder / "parts" / part.name


def run_study(
    study: Study, form: Form, folder: Path, jobs: int | None = None, progress: StudyProgress | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> StudyOutcome:  # fmt: skip
    """Do what is left of a study in its folder, and write numbers.json and the pictures.

    jobs      parts that run at once, each in a process of its own with its share of the threads; with 1 they run in
              this process; None: as many as there are cores
    stopped   asked all the time: whether to stop

    Failed parts are tried again. Raises TrainingError where the folder holds another study or is in use.
    """
    progress = progress or StudyProgress()
    jobs = usual_jobs(form) if jobs is None else jobs
    begin(study, form, folder)
    lock = FolderLock(folder, progress.on_note)
    lock.acquire()
    try:
        parts = study.parts_of(form)
        results = {part.name: read_result(part, part_folder(folder, part)) for part in parts}
        todo = [part for part in parts if results[part.name].state != FINISHED]
        begun = time.perf_counter()
        with StopSignals() as signals:
            work = Work(study, form, folder, parts, results, progress, lambda: signals.requested() or stopped())
            for alone in (False, True):
                chosen = [part for part in todo if part.alone is alone]
                work.run(chosen, 1 if alone else min(jobs, max(1, len(chosen))), in_processes=jobs > 1)
        numbers = Numbers([results[part.name] for part in parts], form.quick, form.data)
        finished = {part.name: part_folder(folder, part) for part in parts if results[part.name].state == FINISHED}
        conclusions, pictures = write_numbers(
            study, form, folder, numbers, finished, time.perf_counter() - begun, jobs, progress.on_note
        )
        number = signals.signal or (signal.SIGINT if work.interrupted and not stopped() else None)
        return StudyOutcome(folder, numbers.results, conclusions, pictures, number)
    finally:
        lock.release()


@dataclass
class Work:
    """The parts that are being done."""

    study: Study
    form: Form
    folder: Path
    parts: Sequence[Part]
    results: dict[str, PartResult]
    progress: StudyProgress
    stopped: Callable[[], bool]
    looked: float = 0.0
    interrupted: bool = False

    def run(self, todo: Sequence[Part], at_once: int, in_processes: bool) -> None:
        """Do these parts, until all have ended or a stop is asked for."""
        if in_processes:
            self._run_in_processes(list(todo), at_once)
            return
        for part in todo:
            if self.stopped() or self.interrupted:
                return
            if self._fails_without_its_start(part):
                continue
            result = run_part(part, self.form, part_folder(self.folder, part), default_threads(), self._look)
            if result is None:
                self.interrupted = True  # a signal that came during a run went to its trainer
                return
            self._ended(part, result)

    def _look(self) -> bool:
        self._say_time(1)
        return self.stopped()

    def _run_in_processes(self, waiting: list[Part], at_once: int) -> None:
        running: dict[str, tuple[Part, WorkerProcess]] = {}
        asked = False
        try:
            while running or (waiting and not asked):
                while len(running) < at_once and not asked and (ready := self._take_ready(waiting, running)):
                    running[ready.name] = ready, self._start(ready, at_once)
                time.sleep(BETWEEN_LOOKS)
                for name, (part, worker) in list(running.items()):
                    if worker.process.poll() is not None:
                        del running[name]
                        self._take_result(part, worker, asked)
                self._say_time(at_once)
                if self.stopped() and not asked:
                    asked = True
                    for _, worker in running.values():
                        worker.stop()
        finally:
            for _, worker in running.values():
                worker.end()

    def _take_ready(self, waiting: list[Part], running: Container[str]) -> Part | None:
        """Take out the first part that can begin now; None where all wait for parts that are still to end."""
        for part in list(waiting):
            if part.after in running or any(part.after == other.name for other in waiting):
                continue
            waiting.remove(part)
            if not self._fails_without_its_start(part):
                return part
        return None

    def _fails_without_its_start(self, part: Part) -> bool:
        """Let a part fail if the one that it starts from has not finished, though its turn is over."""
        if not part.after or self.results[part.after].state == FINISHED:
            return False
        why = (
            f"it starts from the run of {part.after}, which has not finished: once that has, the same command does "
            "this part, too"
        )
        self._ended(part, self._failed(part, self.results[part.name], why))
        return True

    def _failed(self, part: Part, result: PartResult, why: str) -> PartResult:
        """Write into a part's folder that it has failed."""
        failed = dataclasses.replace(result, state=FAILED, message=why)
        folder = part_folder(self.folder, part)
        folder.mkdir(parents=True, exist_ok=True)
        write_result(failed, folder)
        return failed

    def _start(self, part: Part, at_once: int) -> WorkerProcess:
        threads = max(1, default_threads() // at_once)
        folder = part_folder(self.folder, part)
        (folder / "result.json").unlink(missing_ok=True)  # that of an earlier failure
        order = {
            "study": self.study.name, "form": dataclasses.asdict(self.form), "part": part.name,
            "folder": str(folder), "threads": threads,
        }  # fmt: skip
        return WorkerProcess("tinymixer.studies.worker", order, threads)

    def _take_result(self, part: Part, worker: WorkerProcess, asked: bool) -> None:
        result = read_result(part, part_folder(self.folder, part))
        if result.state == MISSING and not asked:
            result = self._failed(part, result, f"its process has ended before its time: {worker.last_words()}")
        if result.state != MISSING:
            self._ended(part, result)

    def _ended(self, part: Part, result: PartResult) -> None:
        self.results[part.name] = result
        done = sum(self.results[other.name].state != MISSING for other in self.parts)
        self.progress.on_part(result, done, len(self.parts))

    def _say_time(self, at_once: int) -> None:
        if time.perf_counter() - self.looked < BETWEEN_LOOKS / 2:
            return
        self.looked = time.perf_counter()
        far = {part.name: HowFar.read(part_folder(self.folder, part)) for part in self.parts}
        share, left = time_left(self.parts, self.results, far, at_once)
        self.progress.on_time(share, left)


def time_left(
    parts: Sequence[Part], results: Mapping[str, PartResult], far: Mapping[str, HowFar], at_once: int
) -> tuple[float, float | None]:
    """The share of a study that is done, and the seconds that the rest takes: (share, seconds), None where unknown.

    A part is expected to take as long as the finished parts of its group, or else as the finished parts whose first
    word is the same (the model, mostly), or else as all finished ones. One that has begun says itself how far it is.
    However many run at once, the rest takes no less than its longest part, or parts that start one from another.
    """
    ended = [part for part in parts if results[part.name].state != MISSING]

    def expected(part: Part) -> float | None:
        own = far[part.name]
        if own.share > 0.1:
            return own.seconds / own.share
        first = next(iter(part.what.values()))
        for like in (
            [other for other in ended if other.group == part.group],
            [other for other in ended if next(iter(other.what.values())) == first],
            ended,
        ):
            if like:
                return sum(results[other.name].seconds for other in like) / len(like)
        return None

    done = total = 0.0
    until: dict[str, float] = {}  # the seconds until a part has ended, were there a core for each
    for part in parts:
        if part in ended:
            done += results[part.name].seconds
            total += results[part.name].seconds
            continue
        seconds = expected(part)
        if seconds is None:
            return len(ended) / len(parts), None
        done += far[part.name].share * seconds
        total += seconds
        until[part.name] = until.get(part.after, 0.0) + (1 - far[part.name].share) * seconds
    return (done / total if total else 1.0), max((total - done) / at_once, *until.values(), 0.0)
