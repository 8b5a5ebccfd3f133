"""Writes what a study leaves: numbers.json, and its pictures."""

import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer import __version__
from tinymixer.abilities import usable_cores
from tinymixer.bench.machine import processor_name
from tinymixer.errors import TinymixerError
from tinymixer.files import Say, replacing
from tinymixer.studies.numbers import FINISHED, FORMAT, Numbers
from tinymixer.studies.part import images_of
from tinymixer.studies.study import Form, Study
from tinymixer.text import reason_of
from tinymixer.training.arithmetic import blas_libraries

FILE = "numbers.json"


def write_numbers(
    study: Study, form: Form, folder: Path, numbers: Numbers, finished: Mapping[str, Path], seconds: float, jobs: int,
    say: Say,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Write numbers.json and the pictures of the finished parts: (conclusions, names of the pictures).

    seconds   of this command; `jobs` parts ran at once

    A picture that cannot be drawn, or a conclusion that cannot be drawn from what has finished, costs a note.
    """
    conclusions: list[str] = []
    compared: list[dict[str, str]] = []
    pictures: list[str] = []
    if finished:
        try:
            conclusions, compared = study.conclude(numbers), study.compare(numbers)
        except Exception as error:  # parts are missing that it needs
            say(f"nothing is concluded yet: {type(error).__name__}: {reason_of(error)}")
        try:
            pictures = study.draw(numbers, folder, finished)
        except Exception as error:
            say(f"a picture could not be drawn: {type(error).__name__}: {reason_of(error)}")
    table = {
        "format": FORMAT,
        "study": study.name,
        "question": study.question,
        "paper": study.paper,
        "form": form.name,
        "seeds": sorted({result.seed for result in numbers.results}),
        "steps_override": form.steps or None,
        "data": _data(form, say),
        "versions": {
            "tinymixer": __version__, "python": platform.python_version(), "numpy": np.__version__,
            "blas": blas_libraries(),
        },
        "machine": {
            "processor": processor_name(), "cores": usable_cores(), "system": platform.system(), "jobs": jobs,
        },
        "seconds": {
            "this_command": round(seconds, 1),
            "parts": round(sum(result.seconds for result in numbers.results), 1),
            "processor": round(sum(result.processor_seconds for result in numbers.results), 1),
        },
        "complete": all(result.state == FINISHED for result in numbers.results),
        "groups": numbers.groups(),
        "parts": [vars(result) for result in numbers.results],
        "beside_the_paper": compared,
        "conclusions": conclusions,
        "pictures": pictures,
    }  # fmt: skip
    with replacing(folder / FILE) as file:
        file.write(json.dumps(_without_nan(table), indent=1, allow_nan=False).encode())
    return conclusions, pictures


def _data(form: Form, say: Say) -> dict[str, Any]:
    """The data set's name, fingerprint and number of training images; {} where it cannot be read now."""
    try:
        dataset = images_of(form)
    except TinymixerError as error:
        say(str(error))
        return {}
    return {
        "name": dataset.name, "fingerprint": dataset.fingerprint, "train_images": len(dataset.train_images),
        "image_size": dataset.image_size,
    }  # fmt: skip


def _without_nan(value: Any) -> Any:
    """The value with None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {str(name): _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
