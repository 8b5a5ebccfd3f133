"""tinymixer data preview: a picture of what a recipe's augmentation does."""

from pathlib import Path
from typing import Any

import click

from tinymixer.cli.recipe_options import RecipeCommand, overrides_of


@click.command(cls=RecipeCommand, short_help="Draw what a recipe's augmentation does to training images.")
@click.argument("recipe_name", default="digits", metavar="[RECIPE]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("preview.png"), metavar="FILE")
@click.option("--images", "count", type=click.IntRange(2, 32), default=8, help="Images in a row.", show_default=True)
@click.option("--epoch", type=click.IntRange(min=0), default=0, help="The epoch whose random numbers are drawn.")
def preview(recipe_name: str, out: Path, count: int, epoch: int, **options: Any) -> None:
    """Draw a contact sheet of RECIPE's augmentation: each transform alone, on every image, then all of them as in
    training, then mixup and CutMix. Every option of 'tinymixer train' that changes a recipe works here.

    \b
    Examples:
      tinymixer data preview cifar10-tiny
      tinymixer data preview photos --data pets --transforms "rotate(20) zoom(0.25)" --out pets.png
    """
    from tinymixer.analysis.contact_sheet import contact_rows, save_contact_sheet
    from tinymixer.borders import shown_path
    from tinymixer.data import epoch_order
    from tinymixer.errors import ConfigError
    from tinymixer.training import load_recipe
    from tinymixer.training.build import fit_recipe, load_data

    if out.suffix.lower() != ".png":
        raise ConfigError(f"the contact sheet is drawn as PNG: expected a file name ending in .png, got '{out}'")
    recipe = load_recipe(recipe_name).with_overrides(overrides_of(options))
    dataset = load_data(recipe)
    recipe = fit_recipe(recipe, dataset, None)
    chosen = epoch_order(recipe.training.seed, epoch, len(dataset.train_images))[:count]
    rows = contact_rows(dataset.train_images[chosen], recipe.augmentation, recipe.training.seed, epoch)
    save_contact_sheet(rows, out)
    click.echo(f"{len(rows)} rows of {len(chosen)} images saved in {shown_path(out)}")
