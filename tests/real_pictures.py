"""Real pictures for tests: twenty ImageNet photographs and twenty CIFAR-10 images that the package foolbox ships.

Only its data folder is used, so it is installed without what it depends on: pip install --no-deps foolbox
"""

import importlib.util
from pathlib import Path

import pytest


def real_pictures(which):
    """(file, label) of each "imagenet" photograph (512 x 512, JPEG) or "cifar10" image (PNG); skips without foolbox."""
    found = importlib.util.find_spec("foolbox")
    if found is None or not found.submodule_search_locations:
        pytest.skip("foolbox is not installed: pip install --no-deps foolbox")
    folder = Path(found.submodule_search_locations[0]) / "data"
    files = sorted(each for each in folder.iterdir() if each.name.startswith(f"{which}_"))
    assert len(files) == 20
    return [(file, int(file.stem.split("_")[2])) for file in files]
