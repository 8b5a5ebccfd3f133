"""What a run trains: its data, and its recipe completed from the data, the model and the weights it starts from."""

from pathlib import Path

from tinymixer.data import Dataset
from tinymixer.files import Say
from tinymixer.models import Model
from tinymixer.parallel.ranks import Ranks
from tinymixer.training.build import fit_recipe, load_data
from tinymixer.training.fine_tuning import sized_like, widened_for
from tinymixer.training.recipe import Recipe
from tinymixer.training.resume import with_recorded_precision, with_recorded_steps
from tinymixer.training.run_folder import sized_as_before
from tinymixer.training.starting_weights import StartingWeights


def prepare(
    recipe: Recipe,
    dataset: Dataset | None,
    model: Model | None,
    weights: StartingWeights | None,
    resumed: str | Path | None,
    ranks: Ranks,
    say: Say,
) -> tuple[Recipe, Dataset]:
    """The complete recipe and the images; arguments as `Trainer` gets them.

    weights   those that the run starts from: their sizes are the model's where the recipe says so
    resumed   the folder of a run that is resumed, of which rank 0 alone reads the recipe; None for a new run

    Raises ConfigError when recipe, model, weights and data do not fit, DataError where there are no data.
    """
    asked, sizes_from_weights = recipe, recipe.fine_tuning.sizes_from == "weights" and model is None
    if sizes_from_weights:
        recipe = ranks.first(lambda: sized_as_before(asked, resumed)) if resumed else sized_like(recipe, weights)
    if model is None and recipe.size_note:
        say(recipe.size_note)
    dataset = dataset or load_data(recipe)
    stated = None if model is not None or "image_size" in recipe.from_data else recipe.model.image_size
    recipe = fit_recipe(recipe, dataset, model)
    if sizes_from_weights and weights is not None:
        recipe = widened_for(recipe, weights, say)
    if stated not in (None, dataset.image_size):
        say(f"the images have {dataset.image_size} pixels a side, not {stated}, and so has the model")
    if resumed:
        recipe = with_recorded_steps(with_recorded_precision(recipe, resumed), resumed)
    return recipe, dataset
