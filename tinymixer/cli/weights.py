"""tinymixer weights: published weights, and files of weights."""

import click

from tinymixer.cli.group import CommandGroup
from tinymixer.cli.weights_export import export
from tinymixer.cli.weights_fetch import fetch, list_weights
from tinymixer.cli.weights_info import info
from tinymixer.cli.weights_picture import picture


@click.group(cls=CommandGroup, short_help="Fetch, list, inspect, draw and export weights.")
def weights() -> None:
    """Fetch, list, inspect, draw and export weights.

    Fetched files are kept in the folder "weights" of the cache, which 'tinymixer doctor' names; the environment
    variable TINYMIXER_CACHE chooses another cache.
    """


for command in (list_weights, fetch, info, picture, export):
    weights.add_command(command)
