"""Writes a model's weights as a file that the authors' code, timm or tinymixer reads."""

from pathlib import Path

import numpy as np

from tinymixer.borders import shown_path
from tinymixer.errors import ConfigError, nearest
from tinymixer.files import replacing
from tinymixer.models import MlpMixer, Model, architecture_of
from tinymixer.npz import write_npz
from tinymixer.pretrained.layouts import FORMS, WHOSE
from tinymixer.pretrained.model import PretrainedModel
from tinymixer.pretrained.naming import LAYOUTS, TIMM, axis_lengths, rows
from tinymixer.pretrained.own import OWN, TEXT, arrays_and_texts
from tinymixer.pretrained.safetensors_file import write_safetensors

FORMATS = ("authors", "timm", OWN)
EPS = 1e-6  # of LayerNorm, in the authors' code and in timm's


def export_weights(loaded: PretrainedModel, path: Path, layout: str) -> list[str]:
    """Write the weights in a layout of `FORMATS`, to an .npz or a .safetensors file, whole or not at all.

    Returns sentences about what the other program will compute otherwise; often none. Raises ConfigError for a model
    that the layout has no names for, and CheckpointError where the file cannot be written.
    """
    if path.suffix not in (".npz", ".safetensors"):
        raise ConfigError(f"{shown_path(path)} should end in .npz or .safetensors")
    own_arrays, texts = arrays_and_texts(loaded)
    if layout == OWN:
        arrays = own_arrays
    elif layout in LAYOUTS:
        arrays = foreign_arrays(loaded.model, layout)
        # An .npz of the authors' has arrays alone; metadata in .safetensors is read by whoever knows it.
        texts = {"format": "pt", TEXT: texts[TEXT]}
    else:
        raise ConfigError(f"unknown layout '{layout}': expected one of {', '.join(FORMATS)}.{nearest(layout, FORMATS)}")
    with replacing(path) as file:
        if path.suffix == ".safetensors":
            write_safetensors(file, arrays, texts)
        elif layout == OWN:
            write_npz(file, {**arrays, **{name: np.array(text) for name, text in texts.items()}})
        else:
            write_npz(file, arrays)
    return [] if layout == OWN else _differences(loaded.model, layout)


def foreign_arrays(model: Model, layout: str) -> dict[str, np.ndarray]:
    """The parameters under another layout's names, with its order of axes. Raises ConfigError for another model."""
    if type(model) is not MlpMixer or model.config.tokens != "mlp":
        what = architecture_of(model)
        if what == "mlp_mixer":
            what += f" with tokens = {model.config.tokens}"
        raise ConfigError(f"{WHOSE[layout]} layout has no names for {what}: it is MLP-Mixer's, with tokens = mlp")
    config = model.config
    if config.variants:
        variants = " and ".join(f"{name} = {value}" for name, value in config.variants.items())
        raise ConfigError(
            f"{WHOSE[layout]} layout is the paper's Mixer, without {variants}: export this model in layout '{OWN}'"
        )
    sizes, ours = axis_lengths(config), model.parameters.to_numpy()
    return {row.name(layout): row.to_theirs(ours[row.ours], layout, sizes) for row in rows(config.num_blocks)}


def _differences(model: Model, layout: str) -> list[str]:
    notes, config, whose = [], model.config, "timm" if layout == TIMM else "the authors' code"
    if config.gelu != FORMS[layout]:
        notes.append(
            f"the model has the {config.gelu} form of GELU, and {whose} computes the {FORMS[layout]} form: logits will "
            "differ, by about a thousandth"
        )
    if config.layer_norm_eps != EPS:
        notes.append(f"the model's layer_norm_eps is {config.layer_norm_eps:g}, and {whose} has {EPS:g}")
    return notes
