"""Builds what a recipe asks for: optimizer, schedule, data and model."""

import dataclasses
from typing import Any

from tinymixer.backend import get_backend
from tinymixer.data import Dataset, generator, load_dataset
from tinymixer.engines import Work
from tinymixer.errors import ConfigError, DataError
from tinymixer.models import Model, architectures, has_independent_images, make_model
from tinymixer.optim import SGD, AdamW, Muon, Optimizer, Schedule, WeightAverage, make_schedule
from tinymixer.parallel.ranks import ONE_RANK, Ranks
from tinymixer.parameters import Parameters
from tinymixer.training.length import RunLength, warmup_steps_of
from tinymixer.training.own_model import describe_model, require_own_parameters
from tinymixer.training.parts import groups_of, keep_frozen_statistics
from tinymixer.training.recipe import Recipe


def make_optimizer(recipe: Recipe, parameters: Parameters) -> Optimizer:
    """The recipe's optimizer for these parameters. Layers that it freezes keep their statistics from then on."""
    optimizer = _update_rule(recipe, parameters)
    optimizer.agc = recipe.optimizer.agc
    keep_frozen_statistics(optimizer.groups, parameters)
    return optimizer


def _update_rule(recipe: Recipe, parameters: Parameters) -> Optimizer:
    options = recipe.optimizer
    common: dict[str, Any] = {
        "weight_decay": options.weight_decay,
        "decay": options.decay,
        "clip_norm": options.clip_norm,
        "groups": groups_of(recipe, parameters.names),
    }
    if options.optimizer == "sgd":
        return SGD(
            parameters,
            momentum=options.momentum,
            nesterov=options.nesterov,
            decoupled=options.decoupled,
            **common,
        )
    common |= {"betas": (options.beta1, options.beta2), "eps": options.adam_eps}
    if options.optimizer == "muon":
        return Muon(parameters, momentum=options.muon_momentum, iterations=options.newton_schulz_steps, **common)
    return AdamW(parameters, **common)


def make_average(recipe: Recipe, parameters: Parameters) -> WeightAverage | None:
    """The average of these parameters that the recipe asks for, which starts as a copy of them; None for no average."""
    options = recipe.optimizer
    return WeightAverage(parameters, options.ema_decay, options.ema_every) if options.ema_decay else None


def work_of(recipe: Recipe, dataset: Dataset, ranks: Ranks = ONE_RANK, average: WeightAverage | None = None) -> Work:
    """What all steps of a run by this recipe on this data have in common."""
    training = recipe.training
    return Work(
        dataset.train_images,
        dataset.train_labels,
        dataset.mean,
        dataset.std,
        training.batch_size,
        recipe.augmentation,
        training.label_smoothing,
        training.micro_batches,
        training.seed,
        ranks,
        dataset.num_classes,
        average,
        recipe.optimizer.sam_rho,
    )


def schedule_of(recipe: Recipe, steps_per_epoch: int) -> Schedule:
    """The recipe's learning rate as a function of the step."""
    length = RunLength.of(recipe, steps_per_epoch)
    return make_schedule(
        recipe.schedule.schedule,
        recipe.optimizer.learning_rate,
        length.steps,
        warmup_steps_of(recipe, length),
        recipe.schedule.final_learning_rate,
        recipe.schedule.cooldown_share,
    )


def load_data(recipe: Recipe) -> Dataset:
    """Load the recipe's data set. Raises DataError where it is missing or damaged, or the recipe names none."""
    options = recipe.data
    if options.dataset == "own" and not options.data:
        raise DataError(
            "the recipe trains on images of your own: say where they are with --data FOLDER (a subfolder per class) or "
            "--data FILE.npz; a run that was given a Dataset in Python is resumed there, Trainer(..., dataset=...)"
        )
    return load_dataset(
        options.dataset,
        path=options.data or None,
        image_size=recipe.model.image_size,
        colours=options.colours,
        fit=options.fit,
        test_share=options.test_share,
        seed=recipe.training.seed,
    )


def fit_recipe(recipe: Recipe, dataset: Dataset, model: Model | None) -> Recipe:
    """Complete the recipe from the data, and from `model` where the caller gives one.

    For the user's own pictures the recipe states the size that they are resized to; arrays have a size already.

    Raises ConfigError where recipe, data and model contradict each other, or a batch is larger than the training set.
    """
    if model is not None:
        require_own_parameters(model)
        architecture, config = describe_model(model)
        recipe = dataclasses.replace(recipe, architecture=architecture, model=config, from_data=())
    elif recipe.data.dataset == "own" and dataset.is_own:
        recipe = dataclasses.replace(recipe, from_data=tuple({*recipe.from_data, "image_size"}))
    if dataset.is_own:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, dataset="own", data=dataset.source))
    elif dataset.name != recipe.data.dataset:  # the files at the path decide, not the recipe's name for them
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, dataset=dataset.name))
    return recipe.fitted_to(dataset)


def require_batch(recipe: Recipe, dataset: Dataset, images: int) -> None:
    """Raise ConfigError unless there are enough training images for one batch."""
    if recipe.training.batch_size > images:
        kept = "" if images == len(dataset.train_images) else " (validation images not counted)"
        raise ConfigError(
            f"batch_size {recipe.training.batch_size} exceeds the {images} training images of '{dataset.name}'{kept}: "
            f"choose {images} or less"
        )


def whole_batch_note(model: Model, micro_batches: int) -> str | None:
    """A sentence where batches in parts train something else than whole ones: the images depend on each other."""
    if micro_batches == 1 or has_independent_images(model):
        return None
    name = type(model).__name__
    why = " (batch norm computes with the statistics of what it is given)" if model.parameters.buffer_names else ""
    return (
        f"{name} does not treat images independently of each other{why}, so micro_batches = {micro_batches} trains on "
        f"{micro_batches} small batches and not on the whole one: the result is another. Take a smaller batch_size to "
        "save memory, or leave micro_batches at 1"
    )


def build_model(recipe: Recipe) -> Model:
    """The recipe's model with its initial weights. Raises ConfigError for a user's own, unregistered model."""
    training = recipe.training
    if recipe.architecture not in architectures():
        raise ConfigError(
            f"the model {recipe.architecture} is not one of tinymixer's: "
            "pass it in, Trainer(..., model=MyModel(config))"
        )
    return make_model(
        recipe.architecture,
        recipe.model,
        backend=get_backend(training.backend, training.kernels),
        dtype=training.dtype,
        seed=generator(training.seed, "init"),
    )
