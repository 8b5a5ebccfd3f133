"""Training runs: the recipe, the training loop, and the folder that a run writes."""

from tinymixer.engines.step import StepResult, train_step
from tinymixer.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinymixer.training.evaluate import Evaluation, accuracy_interval, evaluate
from tinymixer.training.history import read_rows, read_step_rows
from tinymixer.training.loading import Run, load_model, load_run
from tinymixer.training.progress import Progress
from tinymixer.training.recipe import Recipe, load_recipe, recipe_names
from tinymixer.training.recipe_fields import recipe_fields
from tinymixer.training.result import TrainingResult
from tinymixer.training.run_folder import RunFolder, resolve_recipe
from tinymixer.training.run_state import RunState
from tinymixer.training.trainer import Trainer

__all__ = [
    "Checkpoint",
    "Evaluation",
    "Progress",
    "Recipe",
    "Run",
    "RunFolder",
    "RunState",
    "StepResult",
    "Trainer",
    "TrainingResult",
    "accuracy_interval",
    "evaluate",
    "load_checkpoint",
    "load_model",
    "load_recipe",
    "load_run",
    "read_rows",
    "read_step_rows",
    "recipe_fields",
    "recipe_names",
    "resolve_recipe",
    "save_checkpoint",
    "train_step",
]
