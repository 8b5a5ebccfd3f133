"""The tables of the CPU: three models, training and forward, beside the peers; growth with batch and threads.

    python -m benchmarks.cpu_table --out results
    python -m benchmarks.cpu_table --out results-bfloat16 --precision bfloat16

Writes `cpu.md` and `cpu.json` after each measurement, so that a run that is stopped keeps what it has measured. With
PyTorch and JAX on two cores it takes about half an hour. Let the machine do nothing else meanwhile.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tinymixer.abilities import usable_cores
from tinymixer.bench.models import MODELS, default_batch, parse_model
from tinymixer.bench.peers import is_installed, peer_entries
from tinymixer.bench.runner import Work, measure, own_entry, profile
from tinymixer.cli.system_facts import system_facts
from tinymixer.errors import TinymixerError

BATCHES = (16, 32, 64, 128, 256, 512)
Row = dict[str, Any]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def describe(
    model: str, threads: int, forward: bool = False, batch: int | None = None, precision: str = "float32"
) -> Work:
    return Work(model, parse_model(model), batch or default_batch(model, "cpu"), precision, "cpu", threads, forward)


def markdown(machine: Row, compared: list[Row], scaling: list[Row], stages: dict[str, list[Row]]) -> str:
    """The measurements so far as a page."""
    lines = [
        f"# Speed on {machine['cpu']['name']}, {machine['cpu']['cores']} cores",
        "",
        "; ".join(dict.fromkeys(row["version"] for row in compared if "version" in row))
        + f". float32{_other_precisions(compared)}, SGD with Nesterov momentum, synthetic images, the same first "
        "weights; medians of interleaved turns.",
        "",
        "| model | batch | work | implementation | images/s | to the best peer | ms/step | TFLOP/s | of product rate "
        "| of copy rate | MiB | MiB with libraries |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in compared:
        start = f"| {row['model']} | {row['batch']} | {row['work']} | {row['name']} | "
        if not row["images_per_second"]:
            lines.append(start + f"failed: {row.get('left_out', '')} |" + " |" * 7)
            continue
        same = [
            r for r in compared if (r["model"], r["work"]) == (row["model"], row["work"]) and r["images_per_second"]
        ]
        best = max((r["images_per_second"] for r in same if r["name"] != "tinymixer"), default=None)
        ratio = f"{row['images_per_second'] / best:.2f} x" if best else "-"
        memory = " | ".join("-" if row[key] is None else f"{row[key] / 2**20:,.0f}"
                            for key in ("peak_bytes", "process_peak_bytes"))  # fmt: skip
        lines.append(
            start + f"{row['images_per_second']:,.1f} | {ratio} | {row['step_milliseconds']:,.1f} | "
            f"{row['teraflops']:.3f} | {row['share_of_product_ceiling']:.0%} | {row['share_of_copy_ceiling']:.0%} | "
            f"{memory} |"
        )
    if scaling:
        lines += ["", "## Growth with batch and threads (tinymixer, training)", ""]
        lines += ["| model | batch | threads | ms/step | ms/image | images/s |", "|---|--:|--:|--:|--:|--:|"]
    for row in scaling:
        lines.append(
            f"| {row['model']} | {row['batch']} | {row['threads']} | {row['step_milliseconds']:,.1f} | "
            f"{row['step_milliseconds'] / row['batch']:.3f} | {row['images_per_second']:,.1f} |"
        )
    for model, rows in stages.items():
        lines += ["", f"## Where the time of a training step goes: {model}", ""]
        lines += ["| stage | ms/step | share |", "|---|--:|--:|"]
        lines += [f"| {row['name']} | {row['milliseconds']:,.2f} | {row['share']:.1%} |" for row in rows]
    return "\n".join(lines) + "\n"


def _other_precisions(compared: list[Row]) -> str:
    """Where peers computed in another precision, as in " (PyTorch eager in bfloat16)"."""
    others = {row["name"]: row["precision"] for row in compared if row.get("precision", "float32") != "float32"}
    return f" ({', '.join(f'{name} in {precision}' for name, precision in others.items())})" if others else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for cpu.md and cpu.json")
    parser.add_argument("--model", action="append", help="one of the models, or sizes as in tinymixer bench")
    parser.add_argument("--scaling-model", default="nano")
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES, help="of the scaling table")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a turn")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each implementation")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of the peers")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    cores, machine = usable_cores(), system_facts()
    peers = [] if chosen.no_peers else [peer for peer in ("torch", "jax") if is_installed(peer)]
    models = chosen.model or list(MODELS)
    compared: list[Row] = []
    scaling: list[Row] = []
    stages: dict[str, list[Row]] = {}

    def keep() -> None:
        measured = {"machine": machine, "compared": compared, "scaling": scaling, "stages": stages}
        (chosen.out / "cpu.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
        (chosen.out / "cpu.md").write_text(markdown(machine, compared, scaling, stages), encoding="utf-8")

    for model in models:
        for forward in (False, True):
            work = describe(model, cores, forward, precision=chosen.precision)
            say(f"{model}, {'forward' if forward else 'training'}")
            compared += measure([own_entry(work), *peer_entries(peers)], work, chosen.seconds, chosen.rounds, say)
            keep()
        stages[model] = profile(describe(model, cores))
        keep()
    for threads in range(1, cores + 1):
        for batch in chosen.batches:
            work = describe(chosen.scaling_model, threads, batch=batch)
            say(f"{chosen.scaling_model}, batch {batch}, threads {threads}")
            rows = measure([own_entry(work)], work, chosen.seconds, chosen.rounds, say)
            scaling += [row for row in rows if row["images_per_second"]]
            keep()
    print(markdown(machine, compared, scaling, stages), end="")


if __name__ == "__main__":
    try:
        main()
    except TinymixerError as error:
        sys.exit(f"error: {error}")
