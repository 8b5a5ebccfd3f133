"""What a sweep has found so far: a row per trial, and the files made of the rows."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.errors import TinymixerError
from tinymixer.files import Say, replacing
from tinymixer.sweeps.plan import SweepPlan
from tinymixer.sweeps.trial import FAILED, FINISHED, INTERRUPTED, PRUNED
from tinymixer.text import reason_of

if TYPE_CHECKING:
    from tinymixer.sweeps.journal import Journal

WAITING, RUNNING = "waiting", "running"
ENDED = (FINISHED, PRUNED, FAILED)


@dataclass(frozen=True)
class TrialRow:
    """One trial, as the table shows it.

    state       "waiting", "running", "interrupted", "finished", "pruned" or "failed"
    values      of the fields by qualified name; empty for a trial of a search that has not begun
    accuracy    on the validation images (0 to 1): of the weights that the run recommends, and of a trial that runs
                still or was pruned, of its last epoch; None before the first
    epochs      finished
    folder      the trial's run folder
    message     why it failed
    """

    number: int
    state: str
    values: Mapping[str, Any]
    accuracy: float | None
    epochs: int
    seconds: float | None
    folder: str
    message: str = ""
    notes: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def rows_of(journal: "Journal") -> list[TrialRow]:
    """A row for each trial, in the order of their numbers."""
    states = journal.optuna.trial.TrialState
    names = {states.COMPLETE: FINISHED, states.PRUNED: PRUNED, states.FAIL: FAILED, states.WAITING: WAITING}
    rows = []
    for trial in journal.trials():
        reports = trial.intermediate_values
        state = names.get(trial.state) or (RUNNING if journal.is_claimed(trial.number) else INTERRUPTED)
        known = trial.user_attrs
        values = trial.params or trial.system_attrs.get("fixed_params", {})
        rows.append(
            TrialRow(
                trial.number,
                state,
                {field.name: values[field.name] for field in journal.plan.fields if field.name in values},
                trial.value if state == FINISHED else reports[max(reports)] if reports and state != FAILED else None,
                known.get("epochs", len(reports)),
                known.get("seconds"),
                trial_folder(trial.number),
                known.get("message", ""),
                tuple(known.get("notes", ())),
            )
        )
    return rows


def trial_folder(number: int) -> str:
    """The name of a trial's run folder."""
    return f"trial-{number:03}"


def best_of(rows: Sequence[TrialRow]) -> TrialRow | None:
    """The finished trial of the highest validation accuracy, the first of equal ones; None before any."""
    finished = [row for row in rows if row.state == FINISHED and row.accuracy is not None]
    return max(finished, key=lambda row: row.accuracy or 0.0, default=None)


def write_results(folder: Path, plan: SweepPlan, rows: Sequence[TrialRow], say: Say) -> None:
    """Write table.csv, results.json, best.toml and sweep.png. Where no picture can be drawn, `say` receives the reason.

    Raises CheckpointError where the files cannot be written.
    """
    names, best = [field.name for field in plan.fields], best_of(rows)
    _write(folder / "table.csv", _as_csv(names, rows), say)
    content = {
        "recipe": plan.recipe.name,
        "fields": [field.to_dict() for field in plan.fields],
        "pruner": plan.pruner,
        "best": None if best is None else best.number,
        "trials": [dataclasses.asdict(row) for row in rows],
    }
    _write(folder / "results.json", json.dumps(content, indent=2) + "\n", say)
    if best is not None:
        _write(folder / "best.toml", plan.recipe_of(best.values).to_toml(), say)
    _try_to_draw(folder / "sweep.png", plan, rows, say)


def _as_csv(names: Sequence[str], rows: Sequence[TrialRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *names, "validation_accuracy", "epochs", "seconds", "folder", "message"])
    for row in rows:
        values = [row.values.get(name, "") for name in names]
        accuracy = "" if row.accuracy is None else f"{row.accuracy:.6f}"
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        writer.writerow([row.number, row.state, *values, accuracy, row.epochs, seconds, row.folder, row.message])
    return text.getvalue()


def _write(path: Path, text: str, say: Say) -> None:
    with replacing(path, say) as file:
        file.write(text.encode())


def _try_to_draw(path: Path, plan: SweepPlan, rows: Sequence[TrialRow], say: Say) -> None:
    try:
        from tinymixer.analysis.sweep_picture import SweptValues, draw_sweep

        fields = {
            field.name: SweptValues([row.values.get(field.name) for row in rows], field.values, field.log)
            for field in plan.fields
        }
        draw_sweep(plan.recipe.name, fields, [row.accuracy for row in rows], [row.state for row in rows], path)
    except ImportError:
        say("sweep.png is not drawn, since Matplotlib is not installed: pip install matplotlib")
    except TinymixerError as error:
        say(f"sweep.png is not drawn: {error}")
    except Exception as error:  # fonts, the user's settings: Matplotlib raises errors of many types
        say(f"sweep.png is not drawn: {reason_of(error)}")
