"""What is in a file of weights, as far as it can be told, also of one that cannot be loaded."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.borders import shown_path
from tinymixer.errors import ConfigError, TinymixerError
from tinymixer.pretrained.array_file import ArrayFile, open_arrays
from tinymixer.pretrained.class_names import imagenet_classes
from tinymixer.pretrained.layouts import WHOSE, Found, find_mixer
from tinymixer.pretrained.load import default_preprocessing, find_file, size_name
from tinymixer.pretrained.model import PretrainedModel
from tinymixer.pretrained.own import OWN, TEXT, Description, is_own
from tinymixer.pretrained.preprocessing import Preprocessing


@dataclass(frozen=True)
class ArrayFacts:
    """One array: its name in the file and here ("" where it has none), and how many of its numbers are not finite."""

    name: str
    ours: str
    dtype: str
    shape: tuple[int, ...]
    not_finite: int


@dataclass(frozen=True)
class FileFacts:
    """A file of weights.

    kind            "npz" or "safetensors";  layout   whose names its arrays have
    model           such as "Mixer-B/16";  config   its sizes by name, empty where they cannot be told
    classes         whose classes, as far as their number tells
    problems        why it cannot be loaded, in sentences; empty where it can
    """

    path: Path
    kind: str
    layout: str
    bytes: int
    parameters: int
    arrays: list[ArrayFacts]
    model: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    classes: str = ""
    preprocessing: Preprocessing | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def dtypes(self) -> dict[str, int]:
        """dtype -> number of arrays."""
        return dict(Counter(array.dtype for array in self.arrays))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {
            "file": shown_path(self.path),
            "kind": self.kind,
            "layout": self.layout,
            "bytes": self.bytes,
            "parameters": self.parameters,
            "model": self.model,
            "config": self.config,
            "classes": self.classes,
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_dict(),
            "dtypes": self.dtypes,
            "problems": self.problems,
            "arrays": [vars(array) | {"shape": list(array.shape)} for array in self.arrays],
        }


def inspect_weights(file_or_name: str | os.PathLike[str]) -> FileFacts:
    """Look through a file of weights; every array is read, and its numbers are counted that are not finite.

    Raises CheckpointError for a file that holds no arrays, or those of no layout that is known.
    """
    path = find_file(file_or_name)
    with open_arrays(path) as file:
        if is_own(file):
            return _own_facts(file)
        found = find_mixer({name: file.header(name)[1] for name in file.names}, path)
        ours = {found.actual[row.name(found.layout)]: row.ours for row in found.rows
                if row.name(found.layout) in found.actual}  # fmt: skip
        arrays = _array_facts(file, ours)
        problems = [*found.problems, *_problems_of(arrays)]
        return _mixer_facts(file, found, arrays, problems)


def facts_of(loaded: PretrainedModel) -> FileFacts:
    """The same of a model that was loaded already, such as a run's."""
    parameters = loaded.parameters
    arrays = [
        ArrayFacts(name, name, str(parameters.dtype), parameters.shape(name), 0) for name in parameters
    ]  # a checkpoint with numbers that are not finite is not loaded
    names = loaded.class_names
    return FileFacts(
        path=loaded.path,
        kind="npz",
        layout="run",
        bytes=0,
        parameters=parameters.count,
        arrays=arrays,
        model=loaded.source,
        config=loaded.config.to_dict(),
        classes=_named(names),
        preprocessing=loaded.preprocessing,
    )


def _named(names: tuple[str, ...]) -> str:
    return f"{len(names):,}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _mixer_facts(file: ArrayFile, found: Found, arrays: list[ArrayFacts], problems: list[str]) -> FileFacts:
    common: dict[str, Any] = {
        "path": file.path,
        "kind": file.kind,
        "layout": found.layout,
        "bytes": file.path.stat().st_size,
        "parameters": sum(int(np.prod(array.shape, dtype=np.int64)) for array in arrays if array.ours),
        "arrays": arrays,
        "problems": problems,
    }
    try:
        config = found.config
        preprocessing = default_preprocessing(
            found.layout, file.path, config.num_classes, config.image_size, config.in_channels
        )
    except (KeyError, ConfigError) as error:  # a length that no array tells, or one that cannot be
        if not problems:
            problems.append(str(error))
        return FileFacts(**common)
    classes = imagenet_classes(config.num_classes)
    told = config.to_dict()
    if TEXT in file.texts:
        try:
            described = Description.from_json(file.texts[TEXT], shown_path(file.path))
            told |= {"gelu": getattr(described.config, "gelu", config.gelu)}
            preprocessing = described.preprocessing
        except TinymixerError as error:
            problems.append(str(error))
    return FileFacts(
        **common,
        model=f"{size_name(config)}, {WHOSE[found.layout]} layout",
        config=told,
        classes=f"{config.num_classes:,}" + (f", {classes.name}'s by their number" if classes else ""),
        preprocessing=preprocessing,
    )


def _own_facts(file: ArrayFile) -> FileFacts:
    description = Description.from_json(file.texts[TEXT], shown_path(file.path))
    arrays = _array_facts(file, {name: name.partition("/")[2] for name in file.names})
    names = description.class_names
    return FileFacts(
        path=file.path,
        kind=file.kind,
        layout=OWN,
        bytes=file.path.stat().st_size,
        parameters=sum(int(np.prod(each.shape, dtype=np.int64)) for each in arrays if each.name.startswith("param")),
        arrays=arrays,
        model=f"{description.architecture}: {description.source}",
        config=description.config.to_dict(),
        classes=_named(names),
        preprocessing=description.preprocessing,
        problems=_problems_of(arrays),
    )


def _array_facts(file: ArrayFile, ours: dict[str, str]) -> list[ArrayFacts]:
    facts = []
    for name in file.names:
        dtype, shape = file.header(name)
        floating = dtype in ("float16", "bfloat16", "float32", "float64")
        wrong = 0
        if floating:
            array = file.array(name)
            wrong = array.size - int(np.count_nonzero(np.isfinite(array)))
        facts.append(ArrayFacts(name, ours.get(name, ""), dtype, shape, wrong))
    return facts


def _problems_of(arrays: list[ArrayFacts]) -> list[str]:
    problems = []
    for array in arrays:
        if array.dtype not in ("float16", "bfloat16", "float32", "float64"):
            problems.append(f"'{array.name}' should hold floating-point numbers, got {array.dtype}")
        elif array.not_finite:
            problems.append(f"'{array.name}' holds {array.not_finite:,} numbers that are not finite")
    return problems
