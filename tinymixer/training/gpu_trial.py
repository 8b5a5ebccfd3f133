"""Builds the cuda engine for a recipe without its data: what `tinymixer doctor --gpu` tries."""

import dataclasses

import numpy as np

from tinymixer.engines import Work
from tinymixer.engines.guarded_cuda import GuardedCudaEngine
from tinymixer.errors import ConfigError
from tinymixer.training.build import build_model, make_average, make_optimizer
from tinymixer.training.recipe import Recipe


def try_on_gpu(recipe: Recipe, precision: str) -> GuardedCudaEngine:
    """The cuda engine for a recipe's model and batch in a precision, newly proved, over random images.

    Raises ConfigError where the engine is not made for such a model, and BackendError where the GPU cannot be used.
    """
    training = dataclasses.replace(
        recipe.training, precision=precision, backend="cupy", check_kernels="always", engine="cuda"
    )
    recipe = dataclasses.replace(recipe, training=training)
    model = build_model(recipe)
    optimizer = make_optimizer(recipe, model.parameters)
    config, rng = model.config, np.random.default_rng(0)
    shape = (2 * training.batch_size, config.image_size, config.image_size, config.in_channels)
    statistics = np.full(config.in_channels, 0.45), np.full(config.in_channels, 0.25)
    work = Work(
        rng.integers(0, 256, shape, dtype=np.uint8),
        rng.integers(0, config.num_classes, shape[0]),
        *statistics,
        training.batch_size,
        recipe.augmentation,
        training.label_smoothing,
        training.micro_batches,
        training.seed,
        average=make_average(recipe, model.parameters),
        sam_rho=recipe.optimizer.sam_rho,
    )
    obstacle = GuardedCudaEngine.obstacle(model, training, work, optimizer)
    if obstacle is not None:
        raise ConfigError(f"the fused step is not made for the recipe '{recipe.name}': {obstacle}")
    return GuardedCudaEngine.make(model, training, work, optimizer)
