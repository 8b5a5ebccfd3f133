"""The data of the lessons: the bundled digits always, CIFAR-10 where it is."""

from tinymixer.data import Dataset, dataset_info, load_dataset


def cifar10_or_advice() -> Dataset | None:
    """CIFAR-10 where it was fetched before; otherwise None, after a line that says how to get it."""
    if dataset_info("cifar10")["available"]:
        return load_dataset("cifar10")
    print(
        "CIFAR-10 is not on this machine, so this section is short. 'tinymixer data fetch cifar10' brings it (170 MB), "
        "then run the cell again."
    )
    return None
