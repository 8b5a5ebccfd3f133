"""The paper's sizes on a processor: loading B/16, speed beside PyTorch, one image through the largest models.

    python -m benchmarks.published_sizes --out results

Writes `published.md` and `published.json` after each measurement. Weights are random, in the published layouts and at
the published sizes. Let the machine do nothing else meanwhile; with PyTorch it takes about ten minutes on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinymixer.abilities import usable_cores
from tinymixer.bench.models import parse_model
from tinymixer.bench.peers import is_installed, peer_entries
from tinymixer.bench.runner import Work, measure, own_entry
from tinymixer.cli.system_facts import system_facts
from tinymixer.errors import TinymixerError

COMPARED = (("B/16", True, 16), ("S/16", False, 16), ("B/16", True, 1), ("S/16", True, 16))  # (size, forward, batch)
LARGEST = ("L/16", "H/14")
LOADED = (("authors", ".npz"), ("timm", ".safetensors"), ("tinymixer", ".npz"))
WRITE = """
import sys
from pathlib import Path
from tinymixer.models import MlpMixer, preset
from tinymixer.pretrained import PretrainedModel, export_weights, published
model = MlpMixer(preset("B/16"), backend="numpy")
names = tuple(map(str, range(1000)))
made = PretrainedModel(model, published("authors", 224), names, "random", "tinymixer", Path("none"))
export_weights(made, Path(sys.argv[1]), sys.argv[2])
"""
LOAD = """
import json, sys, time
from tinymixer.bench.memory import held_bytes
from tinymixer.training.weights import load_weights
before, started = held_bytes(peak=True), (time.perf_counter(), time.process_time())
load_weights(sys.argv[1], backend="numpy")
seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": held_bytes(peak=True), "before": before}))
"""
ONE_IMAGE = """
import json, sys, time
import numpy as np
from tinymixer.bench.memory import held_bytes
from tinymixer.engines import choose_engine
from tinymixer.models import MlpMixer, preset
started = time.perf_counter()
model = MlpMixer(preset(sys.argv[1]), backend="numpy", seed=None)
values = model.parameters.values  # written to, so that they take memory: nothing is drawn with seed=None
for start in range(0, len(values), 1 << 20):
    part = values[start : start + (1 << 20)]
    part[...] = np.random.default_rng(start).standard_normal(len(part), np.float32) * 0.02
made = time.perf_counter() - started
engine, image = choose_engine(model), np.zeros((1, 224, 224, 3), np.float32)
logits = engine.logits(image)
first = time.perf_counter() - started - made
started = time.perf_counter()
engine.logits(image)
print(json.dumps({"made": made, "first": first, "second": time.perf_counter() - started,
                  "engine": engine.name, "classes": logits.shape[1], "peak_bytes": held_bytes(peak=True)}))
"""
Row = dict[str, Any]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def in_process(program: str, *arguments: str) -> Row:
    """What a program prints last, run in a process of its own, so that its memory is its own."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout) if done.stdout.strip() else {}


def loading(rounds: int) -> list[Row]:
    """B/16 in each layout: the fastest of some rounds, and its memory."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for layout, ending in LOADED:
            path = Path(folder) / f"{layout}{ending}"
            in_process(WRITE, str(path), layout)
            best = min((in_process(LOAD, str(path)) for _ in range(rounds)), key=lambda row: row["seconds"])
            rows.append({"layout": layout, "file": ending, "bytes": path.stat().st_size} | best)
            path.unlink()
    return rows


def markdown(machine: Row, loaded: list[Row], largest: list[Row], compared: list[Row]) -> str:
    """The measurements so far as a page."""
    lines = [
        f"# Published sizes on {machine['cpu']['name']}, {machine['cpu']['cores']} cores",
        "",
        "## Loading B/16",
        "",
    ]
    lines += [
        "| layout | file | MiB | seconds | of processor time | peak MiB | peak / file |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in loaded:
        lines.append(
            f"| {row['layout']} | {row['file']} | {row['bytes'] / 2**20:.0f} | {row['seconds']:.2f} | "
            f"{row['cpu_seconds']:.2f} | {row['peak_bytes'] / 2**20:.0f} | {row['peak_bytes'] / row['bytes']:.2f} |"
        )
    lines += [
        "",
        "## One image through the largest",
        "",
        "| model | made and filled, s | first image, s | second image, s | peak MiB |",
    ]
    lines += ["|---|--:|--:|--:|--:|"]
    for row in largest:
        lines.append(f"| {row['model']} | {row['made']:.2f} | {row['first']:.2f} | {row['second']:.2f} | "
                     f"{row['peak_bytes'] / 2**20:,.0f} |")  # fmt: skip
    lines += ["", "## Speed", "", "| model | work | batch | implementation | images/s | ours / it | of product rate |"]
    lines += ["|---|---|--:|---|--:|--:|--:|"]
    for row in compared:
        if not row["images_per_second"]:
            lines.append(f"| {row['model']} | {row['work']} | {row['batch']} | {row['name']} | failed | | |")
            continue
        key = ("model", "work", "batch")
        (ours,) = [each for each in compared if each["name"] == "tinymixer" and all(each[k] == row[k] for k in key)]
        ratio = ours["images_per_second"] / row["images_per_second"]
        lines.append(
            f"| {row['model']} | {row['work']} | {row['batch']} | {row['name']} | {row['images_per_second']:.2f} | "
            f"{ratio:.2f} x | {row['share_of_product_ceiling']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for published.md and published.json")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each implementation")
    parser.add_argument("--eager-only", action="store_true", help="leave torch.compile out, which compiles for minutes")
    parser.add_argument("--speed-only", action="store_true", help="leave out loading and the largest models")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    cores, machine = usable_cores(), system_facts()
    peers = peer_entries([peer for peer in ("torch",) if is_installed(peer)])
    peers = [peer for peer in peers if not (chosen.eager_only and "compile" in peer.name)]
    loaded: list[Row] = []
    largest: list[Row] = []
    compared: list[Row] = []

    def keep() -> None:
        measured = {"machine": machine, "loaded": loaded, "largest": largest, "compared": compared}
        (chosen.out / "published.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
        (chosen.out / "published.md").write_text(markdown(machine, loaded, largest, compared), encoding="utf-8")

    if not chosen.speed_only:
        say("loading B/16")
        loaded += loading(chosen.rounds)
        keep()
    for model in () if chosen.speed_only else LARGEST:
        say(f"one image through {model}")
        largest.append({"model": model} | in_process(ONE_IMAGE, model))
        keep()
    for model, forward, batch in COMPARED:
        say(f"{model}, {'forward' if forward else 'training'}, batch {batch}")
        work = Work(model, parse_model(model), batch, "float32", "cpu", cores, forward)
        compared += measure([own_entry(work), *peers], work, chosen.seconds, chosen.rounds, say)
        keep()
    print(markdown(machine, loaded, largest, compared), end="")


if __name__ == "__main__":
    try:
        main()
    except TinymixerError as error:
        sys.exit(f"error: {error}")
