"""tinymixer weights: published weights, and files of weights."""

from importlib import import_module
from importlib.util import find_spec

import click

from tinymixer.cli.group import CommandGroup
from tinymixer.cli.weights_export import export
from tinymixer.cli.weights_fetch import fetch, list_weights
from tinymixer.cli.weights_info import info


@click.group(cls=CommandGroup, short_help="Fetch, list, inspect, draw and export weights.")
def weights() -> None:
    """Fetch, list, inspect, draw and export weights.

    Fetched files are kept in the folder "weights" of the cache, which 'tinymixer doctor' names; the environment
    variable TINYMIXER_CACHE chooses another cache.
    """


for command in (list_weights, fetch, info, export):
    weights.add_command(command)
for more in ("tinymixer.cli.weights_picture", "tinymixer.cli.weights_onnx"):
    if find_spec(more) is not None:
        module = import_module(more)
        weights.add_command(getattr(module, more.rpartition("_")[2]))
