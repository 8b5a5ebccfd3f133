"""tinymixer weights: published weights, and files of weights."""

from importlib import import_module
from importlib.util import find_spec

import click

from tinymixer.cli.group import CommandGroup


@click.group(cls=CommandGroup, short_help="Fetch, list, inspect, draw and export weights.")
def weights() -> None:
    """Fetch, list, inspect, draw and export weights.

    Fetched files are kept in the folder "weights" of the cache, which 'tinymixer doctor' names; the environment
    variable TINYMIXER_CACHE chooses another cache.
    """


# The commands in the order in which people need them. (module, name of the command in it)
COMMANDS = (
    ("tinymixer.cli.weights_fetch", "list_weights"),
    ("tinymixer.cli.weights_fetch", "fetch"),
    ("tinymixer.cli.weights_info", "info"),
    ("tinymixer.cli.weights_picture", "picture"),
    ("tinymixer.cli.weights_export", "export"),
)
for module, name in COMMANDS:
    if find_spec(module) is not None:
        weights.add_command(getattr(import_module(module), name))
