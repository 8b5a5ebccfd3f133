"""Finds test images for a trained model: those of its own data set, or others with the same classes."""

from pathlib import Path

import numpy as np

from tinymixer.data import Dataset, load_dataset
from tinymixer.errors import DataError, nearest
from tinymixer.training.loading import Run


def matching_test_images(run: Run, data: str | Path | None) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Load images to test a run's model on: (data set, images to test on, their labels in the run's class numbers).

    data   path of the images; None takes the run's own

    Classes are matched by name, in any order. If the images are not the run's own and have no test set, all of them are
    used, since the model was trained on none of them.

    Raises DataError for images of other classes, size or colours than the model was trained on, and where there are no
    test images.
    """
    known, options = run.data, run.recipe.data
    path = data or options.data or None
    if options.dataset == "own" and path is None:
        raise DataError(
            f"the run was trained on '{known.name}', images of your own: say where they are, with --data FOLDER or "
            "--data FILE.npz"
        )
    dataset = load_dataset(
        options.dataset,
        path=path,
        image_size=known.image_size,
        colours="grey" if known.in_channels == 1 else "colour",
        fit=options.fit,
        test_share=options.test_share,
        seed=run.recipe.training.seed,
    )
    size = dataset.image_size, dataset.in_channels
    if size != (known.image_size, known.in_channels):
        raise DataError(
            f"the model takes images of {known.image_size} x {known.image_size} pixels with {known.in_channels} "
            f"channels, those of '{dataset.name}' are {size[0]} x {size[0]} with {size[1]}"
        )
    if dataset.test_drawn and dataset.fingerprint != known.fingerprint and not _same_place(path, options.data):
        images = np.concatenate([dataset.train_images, dataset.test_images])
        return dataset, images, relabelled(dataset, known.class_names, with_training=True)
    if not len(dataset.test_images):
        raise DataError(f"'{dataset.name}' has no test images to evaluate on: give a folder with a test part (test/)")
    return dataset, dataset.test_images, relabelled(dataset, known.class_names)


def _same_place(path: str | Path | None, other: str) -> bool:
    """Whether two paths lead to the same file or folder."""
    return bool(path) and bool(other) and Path(str(path)).resolve() == Path(other).resolve()


def relabelled(dataset: Dataset, class_names: tuple[str, ...] | list[str], with_training: bool = False) -> np.ndarray:
    """The labels (N,) as positions in `class_names`: of the test images, or with `with_training` of training and test.

    Raises DataError for a class that is not in `class_names`.
    """
    places = {name: place for place, name in enumerate(class_names)}
    for name in dataset.class_names:
        if name not in places:
            raise DataError(
                f"the model knows no class '{name}', which '{dataset.name}' has: it knows {', '.join(class_names)}."
                f"{nearest(name, class_names)}"
            )
    labels = np.concatenate([dataset.train_labels, dataset.test_labels]) if with_training else dataset.test_labels
    return np.array([places[name] for name in dataset.class_names], np.int64)[labels]
