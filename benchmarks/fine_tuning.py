"""What starting from trained weights gains on small sets of pictures: the figures that README quotes for `photos`.

    python -m benchmarks.fine_tuning --data FOLDER          FOLDER holds CIFAR-10

Five classes of CIFAR-10's test images stand for somebody's own pictures, enlarged to the recipe's 64 x 64 pixels. Each
run trains on 200 of them and is measured on 1,000 others, from scratch, from first-mixer (which was trained on other
pictures of these classes), and from a Mixer of the same sizes that is trained here on the other five classes.
"""

import tempfile
from pathlib import Path

import click
import numpy as np
from PIL import Image

from tinymixer import Dataset, Trainer, load_dataset, load_recipe

OWN = ["cat", "dog", "horse", "ship", "truck"]
OTHERS = ["airplane", "automobile", "bird", "deer", "frog"]
SCRATCH = {"init_from": "none", "learning_rate": 1e-3}
AS_FIRST_MIXER = {  # what cifar10-tiny was when first-mixer was trained
    "optimizer": "adamw", "learning_rate": 3e-3, "weight_decay": 0.05, "ema_decay": 0.0, "token_init": "lecun",
    "alternate_flip": False, "label_smoothing": 0.0, "schedule": "cosine", "warmup_epochs": 0.5,
}  # fmt: skip
TEST_IMAGES = 200  # of each class


def enlarged(images: np.ndarray, size: int = 64) -> np.ndarray:
    """uint8 (N, 32, 32, 3)  ->  uint8 (N, size, size, 3)"""
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in resized])


def renumbered(labels: np.ndarray, names: list[str], chosen: list[str]) -> np.ndarray:
    """Labels that number `names`  ->  labels that number `chosen`"""
    return np.array([chosen.index(names[label]) for label in labels])


def own_pictures(cifar: Dataset, count: int, seed: int) -> Dataset:
    """`count` of CIFAR-10's test images of the classes OWN to train on, and TEST_IMAGES others of each class."""
    order = np.random.default_rng(100 + seed).permutation(len(cifar.test_labels))
    of_class = [order[cifar.test_labels[order] == cifar.class_names.index(name)] for name in OWN]
    each = count // len(OWN)
    train = np.concatenate([numbers[:each] for numbers in of_class])
    test = np.concatenate([numbers[each : each + TEST_IMAGES] for numbers in of_class])
    return Dataset.from_arrays(
        enlarged(cifar.test_images[train]),
        renumbered(cifar.test_labels[train], cifar.class_names, OWN),
        enlarged(cifar.test_images[test]),
        renumbered(cifar.test_labels[test], cifar.class_names, OWN),
        class_names=OWN,
    )


def train_on_others(cifar: Dataset, epochs: int, out: Path) -> Path:
    """Train a Mixer of first-mixer's sizes on the classes OTHERS; return its run folder."""
    numbers = np.flatnonzero(np.isin(cifar.train_labels, [cifar.class_names.index(name) for name in OTHERS]))
    labels = renumbered(cifar.train_labels[numbers], cifar.class_names, OTHERS)
    images = cifar.train_images[numbers]
    dataset = Dataset.from_arrays(images, labels, images[:0], labels[:0], class_names=OTHERS)
    recipe = load_recipe("cifar10-tiny").with_overrides(AS_FIRST_MIXER | {"epochs": epochs})
    return Trainer(recipe, out, dataset).run().folder


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder or archive of CIFAR-10.")
@click.option("--count", type=click.IntRange(min=50), default=200, show_default=True, help="Pictures to train on.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of photos [default: the recipe's].")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each kind.")
def main(data: Path, count: int, epochs: int | None, seeds: int) -> None:
    cifar = load_dataset("cifar10", path=data)
    recipe = load_recipe("photos").with_overrides({"validation_share": 0.0, "epochs": epochs})
    with tempfile.TemporaryDirectory() as folder:
        others = train_on_others(cifar, 5, Path(folder) / "others")
        for seed in range(seeds):
            dataset = own_pictures(cifar, count, seed)
            for name, changes in (
                ("from scratch", SCRATCH),
                ("from first-mixer", {}),
                ("from a Mixer trained on the other classes", {"init_from": str(others)}),
            ):
                chosen = recipe.with_overrides({"seed": seed, **changes})
                result = Trainer(chosen, Path(folder) / f"{seed} {name}", dataset).run()
                click.echo(f"{count} pictures, seed {seed}, {name}: {100 * (result.test_accuracy or 0):.1f} %")


if __name__ == "__main__":
    main()
