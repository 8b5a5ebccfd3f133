"""tinymixer weights: published weights."""

import click

from tinymixer.cli.group import CommandGroup
from tinymixer.cli.weights_fetch import fetch, list_weights
from tinymixer.cli.weights_picture import picture


@click.group(cls=CommandGroup, short_help="Fetch, list and draw weights.")
def weights() -> None:
    """Fetch, list and draw weights.

    Fetched files are kept in the folder "weights" of the cache, which 'tinymixer doctor' names; the environment
    variable TINYMIXER_CACHE chooses another cache.
    """


for command in (list_weights, fetch, picture):
    weights.add_command(command)
