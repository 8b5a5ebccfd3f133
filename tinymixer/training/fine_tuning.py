"""Beginning with weights that were trained before, and the weights that come with the package."""

from importlib import resources
from pathlib import Path

from tinymixer.errors import CheckpointError, ConfigError, nearest
from tinymixer.files import Say
from tinymixer.models import Model
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint

NAMED = 6  # arrays that a sentence names; of more it says how many


def shipped_weights() -> list[str]:
    """The names of the weights that come with the package."""
    files = resources.files("tinymixer").joinpath("weights").iterdir()
    return sorted(file.name.removesuffix(".npz") for file in files if file.name.endswith(".npz"))


def find_weights(name_or_path: str | Path) -> Path:
    """A run folder or checkpoint file: the path, or the file of weights that come with the package by that name.

    Raises CheckpointError where there is neither.
    """
    path, names = Path(name_or_path), shipped_weights()
    if path.exists():
        return path
    if str(name_or_path) in names:
        return Path(str(resources.files("tinymixer").joinpath("weights", f"{name_or_path}.npz")))
    if path.suffix or len(path.parts) > 1:
        raise CheckpointError(
            f"there is no checkpoint {path}: expected the folder of a training run, or its best.npz or last.npz"
        )
    raise CheckpointError(
        f"there is no run {path}: expected the folder of a training run, its best.npz or last.npz, or weights that "
        f"come with tinymixer ({', '.join(names)}).{nearest(str(name_or_path), names)}"
    )


def begin_with(model: Model, checkpoint: Checkpoint, source: str | Path, say: Say) -> None:
    """Take the arrays of a checkpoint that the model has by the same name and shape; say what is left on either side.

    So a model for other classes begins with everything but the head. Raises ConfigError where nothing fits.
    """
    own = model.parameters.to_numpy()
    taken = {
        name: array for name, array in checkpoint.parameters.items() if name in own and own[name].shape == array.shape
    }
    if not taken:
        raise ConfigError(
            f"no array of {source} has the name and the shape of one of this model's: fine-tuning needs the same "
            "hidden_dim, tokens_mlp_dim, channels_mlp_dim, patch_size and number of patches"
        )
    model.parameters.load(own | taken)
    if {name: array.shape for name, array in checkpoint.buffers.items()} == {
        name: array.shape for name, array in model.parameters.buffers_to_numpy().items()
    }:
        model.parameters.load_buffers(checkpoint.buffers)
    drawn = [name for name in own if name not in taken]
    unused = [name for name in checkpoint.parameters if name not in taken]
    if drawn or unused:
        say(
            f"{len(taken)} of {len(own)} arrays begin as in {source}; drawn anew: {_named(drawn)}; "
            f"not used: {_named(unused)}"
        )


def weights_to_begin_with(source: str | Path) -> Checkpoint:
    """The checkpoint that a run folder recommends, or that a file holds. Raises CheckpointError."""
    from tinymixer.training.loading import recommended_checkpoint

    path = find_weights(source)
    return load_checkpoint(recommended_checkpoint(path)[0] if path.is_dir() else path)


def _named(names: list[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return ", ".join(names) or "none"
