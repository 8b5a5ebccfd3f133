"""The lessons' data: always the bundled digits, and CIFAR-10 where it was fetched."""

from typing import TYPE_CHECKING

from tinymixer.abilities import in_browser

if TYPE_CHECKING:
    from tinymixer.data import Dataset


def cifar10_or_advice() -> "Dataset | None":
    """CIFAR-10 if it was fetched before; otherwise prints how to get it and returns None."""
    from tinymixer.data import dataset_info, load_dataset

    if dataset_info("cifar10")["available"]:
        return load_dataset("cifar10")
    if in_browser():
        print(
            "CIFAR-10 (170 MB) is too large for a browser, so this section is short. On your own machine it can be run."
        )
        return None
    print(
        "CIFAR-10 is not on this machine, so this section is short. 'tinymixer data fetch cifar10' brings it (170 MB), "
        "then run the cell again."
    )
    return None
