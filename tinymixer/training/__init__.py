"""One training step, the epochs around it, and the folder that a run leaves behind."""

from tinymixer.training.checkpoint import Checkpoint, RunState, load_checkpoint, load_model, save_checkpoint
from tinymixer.training.evaluate import Evaluation, evaluate
from tinymixer.training.history import read_rows
from tinymixer.training.progress import Progress
from tinymixer.training.recipe import Recipe, load_recipe, recipe_fields, recipe_names
from tinymixer.training.run_folder import RunFolder, resolve_recipe
from tinymixer.training.step import StepResult, train_step
from tinymixer.training.trainer import Trainer, TrainingResult

__all__ = [
    "Checkpoint",
    "Evaluation",
    "Progress",
    "Recipe",
    "RunFolder",
    "RunState",
    "StepResult",
    "Trainer",
    "TrainingResult",
    "evaluate",
    "load_checkpoint",
    "load_model",
    "load_recipe",
    "read_rows",
    "recipe_fields",
    "recipe_names",
    "resolve_recipe",
    "save_checkpoint",
    "train_step",
]
