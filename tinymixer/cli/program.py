"""The program `tinymixer`, with all its commands."""

import click

from tinymixer import __version__
from tinymixer.cli.bench import bench
from tinymixer.cli.data import data
from tinymixer.cli.doctor import doctor
from tinymixer.cli.eval import evaluate_run
from tinymixer.cli.gradcheck import gradcheck
from tinymixer.cli.group import CommandGroup
from tinymixer.cli.launch import launch
from tinymixer.cli.lessons import lessons
from tinymixer.cli.lr_find import lr_find
from tinymixer.cli.models import models
from tinymixer.cli.plot import plot
from tinymixer.cli.predict import predict
from tinymixer.cli.study import study
from tinymixer.cli.sweep import sweep
from tinymixer.cli.train import train
from tinymixer.cli.weights import weights


@click.group(cls=CommandGroup)
@click.version_option(__version__, "-V", "--version", message="tinymixer %(version)s")
def program() -> None:
    """MLP-Mixer with every gradient written by hand, on NumPy or CuPy.

    \b
    First steps:
      tinymixer lessons                     the course, in JupyterLab
      tinymixer train                       train on the bundled digits: under a minute
      tinymixer eval runs/digits            how well it does, class by class
      tinymixer gradcheck                   check every gradient of the package
    """


COMMANDS = (
    lessons, train, sweep, study, lr_find, launch, evaluate_run, predict, plot, models, weights, gradcheck, bench,
    data, doctor,
)  # fmt: skip
for command in COMMANDS:
    program.add_command(command)
