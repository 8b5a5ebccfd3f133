"""The error message for a run that needs more memory than there is."""

from tinymixer.data import Dataset
from tinymixer.models import Model
from tinymixer.text import shortened
from tinymixer.training.recipe import Recipe

COPIES = 4  # vectors as long as the parameters: values, gradients, and two of the optimizer


def out_of_memory(error: MemoryError, recipe: Recipe, dataset: Dataset, model: Model) -> str:
    """A sentence that says what needs much memory in this run, and which settings reduce it."""
    training, parameters = recipe.training, model.parameters
    reason = shortened(str(error)) or type(error).__name__
    together = training.batch_size // training.micro_batches
    return (
        f"out of memory ({reason}). What is large here: the activations of {together} images at a time, "
        f"which shrink with batch_size {training.batch_size} or grow fewer with more micro_batches "
        f"({training.micro_batches}); those of evaluation, with eval_batch_size {training.eval_batch_size}; the "
        f"parameters, {_bytes(COPIES * parameters.values.nbytes)} with gradients and optimizer; the images, "
        f"{_bytes(dataset.train_images.nbytes + dataset.test_images.nbytes)}"
    )


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
