"""Choices without the test set: splitting off validation images, and early stopping on their losses."""

from collections.abc import Sequence

from tinymixer.data.split import balanced_split
from tinymixer.errors import ConfigError

__all__ = ["balanced_split", "early_stop"]


def early_stop(losses: Sequence[float], patience: int) -> tuple[int, int]:
    """Early stopping on the validation losses of epochs 0, 1, ...: (the best epoch, the last epoch trained).

    Training stops after `patience` epochs in a row without a new lowest loss; later losses are ignored. Raises
    ConfigError for an empty list of losses, or for a patience below 1.
    """
    if len(losses) == 0 or patience < 1:
        raise ConfigError(f"early stopping needs a loss and a patience of 1 or more, got {len(losses)} and {patience}")
    best = 0
    for epoch in range(1, len(losses)):
        if losses[epoch] < losses[best]:
            best = epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(losses) - 1
