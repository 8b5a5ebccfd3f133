"""tinymixer gradcheck: compares every gradient of the package with numerical derivatives."""

import sys
import time
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from tinymixer.cli.failures import FAILED
from tinymixer.cli.output import json_option, print_json
from tinymixer.errors import ConfigError, nearest

if TYPE_CHECKING:
    from tinymixer.gradcheck.suite import Check


@click.command(short_help="Check every gradient of the package.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--details", is_flag=True, help="Show a line for each single check.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of inputs and cotangents.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "numpy", "cupy"]),
    default="numpy",
    show_default=True,
    help="Where to check. cupy checks on the GPU, with the GPU's kernels for the dtypes that they support.",
)
@json_option
def gradcheck(names: tuple[str, ...], details: bool, seed: int, backend: str, as_json: bool) -> None:
    """Check the gradients of every operation, every layer and of whole models, each at several shapes.

    With NAMEs, only these: layer_norm, TokenMixing, MlpMixer, ... The exit code is 1 when any check fails. For your
    own layers, see tinymixer.gradcheck: check_operation, check_layer, check_model.

    \b
    Examples:
      tinymixer gradcheck
      tinymixer gradcheck layer_norm LayerNorm --details
      tinymixer gradcheck --backend cupy
      tinymixer gradcheck --json
    """
    from tinymixer.gradcheck import Report

    checks = _chosen_checks(names, seed, backend)
    started = time.perf_counter()
    report = Report().merged(_run_with_progress(checks))
    report.seconds = time.perf_counter() - started
    if as_json:
        print_json(report.to_rows())
    else:
        click.echo(report.table(details))
    if not report.passed:
        raise Exit(FAILED)


def _chosen_checks(names: tuple[str, ...], seed: int, backend: str) -> "list[Check]":
    """The package's checks with one of these names, in upper or lower case; all checks where no name is given."""
    from tinymixer.backend import get_backend
    from tinymixer.gradcheck.suite import all_checks

    checks = all_checks(seed, get_backend(backend))
    known = dict.fromkeys(name for name, _ in checks)
    lowered = {name.lower() for name in known}
    for name in names:
        if name.lower() not in lowered:
            raise ConfigError(
                f"there is nothing named '{name}' to check: expected {', '.join(known)}.{nearest(name, known)}"
            )
    wanted = {name.lower() for name in names}
    return [(name, check) for name, check in checks if not wanted or name.lower() in wanted]


def _run_with_progress(checks: "list[Check]") -> list:
    from tqdm import tqdm

    reports = []
    with tqdm(
        checks, bar_format="{percentage:3.0f}%|{bar}| {desc}", leave=False, disable=not sys.stderr.isatty()
    ) as bar:
        for name, check in bar:
            bar.set_description_str(name, refresh=False)
            reports.append(check())
    return reports
