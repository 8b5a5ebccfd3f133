"""From a recipe to the things it asks for."""

from tinymixer.data import Dataset
from tinymixer.errors import ConfigError
from tinymixer.optim import SGD, AdamW, Optimizer, Schedule, make_schedule
from tinymixer.parameters import Parameters
from tinymixer.training.recipe import Recipe


def make_optimizer(recipe: Recipe, parameters: Parameters) -> Optimizer:
    """The optimizer that the recipe asks for, over these parameters."""
    options = recipe.optimizer
    if options.optimizer == "sgd":
        return SGD(
            parameters,
            momentum=options.momentum,
            nesterov=options.nesterov,
            weight_decay=options.weight_decay,
            decay=options.decay,
            clip_norm=options.clip_norm,
            decoupled=options.decoupled,
        )
    return AdamW(
        parameters,
        betas=(options.beta1, options.beta2),
        eps=options.adam_eps,
        weight_decay=options.weight_decay,
        decay=options.decay,
        clip_norm=options.clip_norm,
    )


def schedule_of(recipe: Recipe, steps_per_epoch: int) -> Schedule:
    """The learning rate over the steps of the recipe's run."""
    return make_schedule(
        recipe.schedule.schedule,
        recipe.optimizer.learning_rate,
        recipe.training.epochs * steps_per_epoch,
        round(recipe.schedule.warmup_epochs * steps_per_epoch),
        recipe.schedule.final_learning_rate,
    )


def require_fit(recipe: Recipe, dataset: Dataset) -> None:
    """Raise ConfigError unless the model takes the data set's images and tells its classes apart."""
    config = recipe.model
    height, width, channels = dataset.train_images.shape[1:]
    for name, value, found in (
        ("image_size", config.image_size, height),
        ("image_size", config.image_size, width),
        ("in_channels", config.in_channels, channels),
        ("num_classes", config.num_classes, len(dataset.class_names)),
    ):
        if value != found:
            raise ConfigError(
                f"the recipe has {name} = {value}, but the data set '{dataset.name}' needs {name} = {found}"
            )
    if recipe.training.batch_size > len(dataset.train_images):
        raise ConfigError(
            f"batch_size {recipe.training.batch_size} exceeds the {len(dataset.train_images)} training images of "
            f"'{dataset.name}'"
        )
