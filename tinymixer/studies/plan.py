"""The studies by name, and what a study's folder says about how it was begun."""

import dataclasses
import json
from importlib import import_module
from pathlib import Path
from typing import Any

from tinymixer.borders import shown_path
from tinymixer.errors import ConfigError, TinymixerError, TrainingError, nearest
from tinymixer.files import replacing
from tinymixer.studies.part import images_of
from tinymixer.studies.study import Form, Study
from tinymixer.text import reason_of

# name -> its module in this package, which has a STUDY
MODULES = {
    "inside": "inside",
    "permutations": "permutations",
    "token-mixers": "token_mixers",
    "data": "data_share",
    "overfitting": "overfitting",
    "cost": "cost",
    "transfer": "transfer",
}
PLAN = "study.json"
# What a study that goes on may have otherwise: more seeds or weights are more parts, and the same images may be
# somewhere else.
FREE = ("seeds", "init_from", "data")


def study_names() -> list[str]:
    """The names of all studies."""
    return list(MODULES)


def find_study(name: str) -> Study:
    """The study of that name. Raises ConfigError where there is none."""
    if name not in MODULES:
        raise ConfigError(f"there is no study '{name}': expected {', '.join(MODULES)}.{nearest(name, list(MODULES))}")
    found: Study = import_module(f"tinymixer.studies.{MODULES[name]}").STUDY
    return found


def begin(study: Study, form: Form, folder: Path) -> None:
    """Write into the folder how the study is run there, and with which images.

    Raises TrainingError where another study, or one of another form or with other images, was begun in it.
    """
    now: dict[str, Any] = {"study": study.name, **dataclasses.asdict(form)}
    path = folder / PLAN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        then = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else now
    except (OSError, ValueError) as error:
        raise TrainingError(f"{shown_path(path)} cannot be used ({reason_of(error)}): choose another --out") from error
    if not isinstance(then, dict):
        raise TrainingError(f"{shown_path(path)} is no study's: choose another --out")
    others = [
        f"{name} is {then.get(name)!r} there and {value!r} now"
        for name, value in now.items()
        if name not in FREE and then.get(name) != value
    ]
    before = then.get("fingerprint", "")
    fingerprint = fingerprint_of(form) or before
    if before and before != fingerprint:
        others.append("its images are others than those that --data has now")
    if others:
        raise TrainingError(
            f"{shown_path(folder)} holds another study ({'; '.join(others)}): go on with that one, or choose another "
            "--out"
        )
    with replacing(path) as file:
        file.write(json.dumps(now | {"fingerprint": fingerprint}, indent=1).encode())


def fingerprint_of(form: Form) -> str:
    """That of the form's images; "" where they cannot be read, which the parts that need them say themselves."""
    try:
        return images_of(form).fingerprint
    except TinymixerError:
        return ""
