"""tinymixer bench: the speed of our training step, beside its peers and the machine's measured limits."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinymixer.bench.peers import PEERS, peer_entries
from tinymixer.cli.eval import backend_option
from tinymixer.cli.output import json_option, make_table, percent, print_json, print_labelled, print_table
from tinymixer.errors import BackendError, ConfigError
from tinymixer.text import counted

if TYPE_CHECKING:
    from tinymixer.bench.runner import Work

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
CPU_PRECISIONS = ("float32", "bfloat16")  # bfloat16 is for the peers only


@click.command(short_help="Measure the training step's speed, beside PyTorch and JAX if asked.")
@click.option(
    "--model",
    default="nano",
    show_default=True,
    help="nano, small, small/4, a preset (B/16, ViT-nano, R18-nano), or sizes: C=192,DS=96,L=8",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="B",
    help="Images in a batch [default: as in docs/speed.md and docs/gpu.md].",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Number format of the matrix products. On a CPU only the peers use bfloat16; tinymixer stays in float32.",
)
@backend_option
@click.option(
    "--peer",
    "peers",
    type=click.Choice(list(PEERS)),
    multiple=True,
    help="Compare with this library; needs a clone of the repository. May be repeated.",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads [default: one per core].")
@click.option("--forward", is_flag=True, help="Measure the forward pass alone, as in evaluation.")
@click.option(
    "--deterministic/--no-deterministic",
    default=True,
    help="GPU: add in a fixed order, so that runs repeat to the bit (the default), or in any order.",
)
@click.option("--seconds", type=click.FloatRange(0.01, 600), default=1.0, show_default=True, help="Seconds of a turn.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Number of turns for each implementation.",
)
@click.option(
    "--profile", is_flag=True, help="Show where the time of tinymixer's step goes, stage by stage, without comparing."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Save a bar chart of the speeds in this file (PNG).",
)
@json_option
def bench(
    model: str,
    batch: int | None,
    precision: str,
    backend: str,
    peers: tuple[str, ...],
    threads: int | None,
    forward: bool,
    deterministic: bool,
    seconds: float,
    rounds: int,
    profile: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure tinymixer's training step on synthetic images, beside other libraries that do the same work.

    Each runs in its own process, with the same weights, batch and update rule (SGD with Nesterov momentum). All warm
    up, then they take turns, and the median of the turns is shown. Their first losses are compared, to show that they
    compute the same.

    \b
    Examples:
      tinymixer bench
      tinymixer bench --peer torch --peer jax --out speed.png
      tinymixer bench --peer torch --precision bfloat16
      tinymixer bench --model small/4 --batch 64 --threads 1 --forward
      tinymixer bench --model nano --batch 512 --precision bfloat16 --backend cupy --peer torch --peer jax
      tinymixer bench --profile
      tinymixer bench --model ViT-nano --peer torch-eager
      tinymixer bench --model R18-nano --peer torch-eager --rounds 9
    """
    from tinymixer.bench import runner

    if out is not None and out.suffix.lower() != ".png":
        raise ConfigError(f"the chart is drawn as PNG: expected a file name ending in .png, got '{out}'")
    if profile and (peers or out):
        raise ConfigError("--profile measures our own step alone: leave out --peer and --out")
    work = _work(model, batch, precision, backend, threads, forward, deterministic, bool(peers))
    if profile and forward and work.device == "cuda":
        raise ConfigError("--profile shows the training step on a GPU: leave out --forward")
    if profile:
        stages = runner.profile(work, seconds)
        print_json(stages) if as_json else _show_profile(stages, work)
        return
    entries = [runner.own_entry(work), *peer_entries(peers, work.architecture)]
    rows = runner.measure(entries, work, seconds, rounds, _progress)
    if "left_out" in rows[0]:
        raise BackendError(f"our own step failed: {rows[0]['left_out']}")
    if as_json:
        print_json(rows)
    else:
        _show(rows, work, rounds)
    if out is not None:
        from tinymixer.bench.chart import draw_chart

        draw_chart(rows, _title(work), out)
        if not as_json:
            click.echo(f"chart saved in {out}")


def _work(
    model: str,
    batch: int | None,
    precision: str,
    backend: str,
    threads: int | None,
    forward: bool,
    deterministic: bool,
    with_peers: bool,
) -> "Work":
    """The work that the options describe. Raises ConfigError or BackendError if it cannot be measured here."""
    from tinymixer.abilities import usable_cores
    from tinymixer.backend import get_backend
    from tinymixer.bench.models import default_batch, parse_model
    from tinymixer.bench.runner import Work
    from tinymixer.models import MixerConfig

    config, cores = parse_model(model), usable_cores()
    device = "cuda" if get_backend(backend, kernels="reference").name == "cupy" else "cpu"
    if device == "cpu" and precision not in CPU_PRECISIONS:
        raise ConfigError(
            f"--precision {precision} needs a GPU and --backend cupy: on a CPU we compute in float32, and the peers in "
            "float32 or bfloat16"
        )
    if device == "cpu" and precision != "float32" and not with_peers:
        raise ConfigError(
            f"NumPy computes in float32: --precision {precision} needs a GPU and --backend cupy, or on a CPU a --peer, "
            "which then computes in it"
        )
    if device == "cuda" and threads is not None:
        raise ConfigError("--threads is for the CPU: leave it out, or choose --backend numpy")
    if threads is not None and threads > cores:
        raise ConfigError(f"this process may use {counted(cores, 'core')}: choose --threads from 1 to {cores}")
    if device == "cpu" and not deterministic:
        raise ConfigError("on the CPU sums always have a fixed order: --no-deterministic is for --backend cupy")
    if device == "cuda" and not isinstance(config, MixerConfig):
        raise ConfigError(f"on a GPU bench measures Mixers, and {model} is none: choose --backend numpy")
    images = batch or default_batch(model, device)
    return Work(model, config, images, precision, device, threads or cores, forward, deterministic)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)


def _title(work: "Work") -> str:
    where = "GPU" if work.device == "cuda" else counted(work.threads, "thread")
    what = f"{work.model}, {'forward' if work.forward else 'training'}, batch {work.batch}"
    ours = "" if work.own_precision == work.precision else f" (ours {work.own_precision})"
    return f"{what}, {work.precision}{ours}, {where}"


def _show(rows: list[dict[str, Any]], work: "Work", rounds: int) -> None:
    """Print the table, and below it the meaning of its columns and the other measurements."""
    table = make_table(["", "images/s", "to ours", "ms/step", "TFLOP/s", "product", "copy", "MiB"], _title(work))
    for row in rows:
        if row["images_per_second"] is None:
            table.add_row(row["name"], "failed")
            continue
        milliseconds, peak = row["step_milliseconds"], row["peak_bytes"]
        table.add_row(
            row["name"],
            f"{row['images_per_second']:,.0f}",
            f"{row['speed_relative_to_tinymixer']:.2f} x",
            f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}",
            f"{row['teraflops']:.3g}",
            percent(row["share_of_product_ceiling"], 0),
            "-" if row["share_of_copy_ceiling"] is None else percent(row["share_of_copy_ceiling"], 0),
            _mebibytes(peak),
        )
    print_table(table)
    for row in rows:
        if "left_out" in row:
            click.echo(f"{row['name']} failed: {row['left_out']}")
    finished, own = [row for row in rows if row["images_per_second"]], rows[0]
    turns = own["step_milliseconds_of_turns"]
    losses = ", ".join(f"{loss:.5f}" for loss in own["first_losses"])
    compared = "".join(
        f"; {row['name']} {'within' if row['agrees'] else 'DIFFERS BY'} {row['loss_difference']:.0e}"
        for row in finished[1:]
    )
    notes = {
        "medians": f"of {counted(rounds, 'round')}; ours took {min(turns):.4g} to {max(turns):.4g} ms a step",
        "losses": f"of the first steps {losses}{compared}",
        "product": f"share of the {own['product_ceiling_teraflops']:.3g} TFLOP/s of a large product in "
        f"{own['precision']}, measured here",
        **_processor_times(finished, work),
        "copy": f"share of the {own['copy_ceiling_gigabytes']:,.3g} GB/s of a copy, measured here, if every operation "
        "went through memory; above 100 %, arrays stayed in a cache",
        "MiB": "device memory at its peak"
        if work.device == "cuda"
        else "memory at its peak, above the interpreter and libraries; with them: "
        + ", ".join(f"{row['name']} {_mebibytes(row['process_peak_bytes'])}" for row in finished),
        **_precisions(finished),
        "versions": "; ".join(dict.fromkeys(row["version"] for row in finished)),
    }
    print_labelled(notes)


def _processor_times(rows: list[dict[str, Any]], work: "Work") -> dict[str, str]:
    """A note on the processor time of each program: fairer than the clock where the machine is busy."""
    own = rows[0]["processor_milliseconds"]
    if work.device == "cuda" or not own:
        return {}
    return {
        "processor": "time of all threads in a step, where other work counts little: "
        + ", ".join(
            f"{row['name']} {row['processor_milliseconds']:,.4g} ms ({row['processor_milliseconds'] / own:.2f} x)"
            for row in rows
        )
    }


def _precisions(rows: list[dict[str, Any]]) -> dict[str, str]:
    """A note on the precision of each program, where ours and the peers' differ."""
    own, peers = rows[0], rows[1:]
    if all(row["precision"] == own["precision"] for row in peers):
        return {}
    names = ", ".join(row["name"] for row in peers)
    ours = f"tinymixer in {own['precision']}, as NumPy has no faster product"
    return {"precision": f"{names} in {peers[0]['precision']}; {ours}"}


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:,.0f}"


def _show_profile(stages: list[dict[str, Any]], work: "Work") -> None:
    if work.device == "cuda":
        table = make_table(["kernel", "launches", "us/step", "share", "MB", "of copy"], _title(work))
        for row in stages:
            table.add_row(
                row["name"], str(row["launches"]), f"{1e3 * row['milliseconds']:,.1f}", percent(row["share"]),
                f"{row['bytes'] / 1e6:,.1f}", percent(row["share_of_copy_ceiling"]),
            )  # fmt: skip
    else:
        table = make_table(["stage", "ms/step", "share", "TFLOP/s"], _title(work))
        for row in stages:
            rate = f"{row['teraflops']:.3g}" if "teraflops" in row else ""
            table.add_row(row["name"], f"{row['milliseconds']:,.2f}", percent(row["share"]), rate)
    print_table(table)
