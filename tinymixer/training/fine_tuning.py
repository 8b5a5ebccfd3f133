"""Fine-tuning: starts a run from trained weights, those of another run or those that come with the package."""

from pathlib import Path

from tinymixer.errors import ConfigError
from tinymixer.files import Say
from tinymixer.models import Model
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint
from tinymixer.training.loading import find_weights, recommended_checkpoint

NAMED = 6  # arrays that a sentence names; of the others it gives the number


def begin_with(model: Model, checkpoint: Checkpoint, source: str | Path, say: Say) -> None:
    """Load the checkpoint's arrays whose name and shape the model has; `say` names the other arrays on both sides.

    A model for other classes therefore starts with all weights except the head's. Raises ConfigError where none fits.
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
    """Load a run folder's recommended checkpoint, or a checkpoint file. Raises CheckpointError."""
    path = find_weights(source)
    return load_checkpoint(recommended_checkpoint(path)[0] if path.is_dir() else path)


def _named(names: list[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return ", ".join(names) or "none"
