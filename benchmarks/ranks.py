"""Training throughput of several processes beside one process with as many threads, and what their sums cost.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python -m benchmarks.ranks --turns 7 --seconds 5

nano, batch 128, float32, synthetic images, by the `steps` of the fastest engine on the processor. The two ways take
turns; it prints medians and the ratios of the turns. Needs the extra [mpi]. Let the machine do nothing else meanwhile.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tinymixer.abilities import usable_cores
from tinymixer.cli.launch import _launcher
from tinymixer.data import Augmentation
from tinymixer.engines import EngineOptions, Step, Work, choose_engine
from tinymixer.models import MlpMixer
from tinymixer.parallel.launched import launched_ranks
from tinymixer.training.build import make_optimizer
from tinymixer.training.recipe import load_recipe

WARM_UP = 2  # steps


def one_turn(seconds: float, threads: int) -> dict | None:
    """Steps for some seconds on the ranks that this process is one of; None on all but rank 0."""
    ranks, recipe = launched_ranks(lambda text: print(text, file=sys.stderr)), load_recipe("cifar10-nano")
    batch, rng = recipe.training.batch_size, np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8 * batch, 32, 32, 3)).astype(np.uint8), rng.integers(0, 10, 8 * batch)
    model = MlpMixer(recipe.model, seed=0)
    optimizer, half = make_optimizer(recipe, model.parameters), np.full(3, 0.5)
    work = Work(images, labels, half, half / 2, batch, Augmentation(4, True, 0), 0.1, seed=0, ranks=ranks)
    engine = choose_engine(model, EngineOptions(threads=threads), work, optimizer)
    clock: dict[int, float] = {}

    def plan():
        step = 0
        while step <= WARM_UP or not ranks.stop_agreed(time.perf_counter() - clock[WARM_UP] > seconds):
            if step >= WARM_UP:
                clock.setdefault(WARM_UP, time.perf_counter())
            yield Step(rng.permutation(8 * batch)[:batch], 0, step, 1e-3)
            step += 1

    steps = sum(1 for _ in engine.steps(plan()))
    took = time.perf_counter() - clock[WARM_UP]
    sums = []
    for _ in range(30):
        started = time.perf_counter()
        ranks.sum_together([model.parameters.gradients], 0.0, 0)
        sums.append(time.perf_counter() - started)
    if ranks.rank:
        return None
    return {"images_per_second": (steps - WARM_UP) * batch / took, "seconds_per_sum": min(sums)}


def run_turn(line: list[str], seconds: float, threads: int) -> dict:
    """One turn in processes of its own; rank 0's figures."""
    command = [*line, sys.executable, "-m", "benchmarks.ranks", "--turn", "--seconds", str(seconds)]
    command += ["--threads", str(threads)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(told.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--ranks", type=int, default=usable_cores(), help="processes; and threads of the one process")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    options = parser.parse_args()
    if options.turn:
        told = one_turn(options.seconds, options.threads)
        if told is not None:
            print(json.dumps(told), flush=True)
        return
    several = [*_launcher(None), "-n", str(options.ranks)]
    rows = []
    for turn in range(options.turns):
        ways = [("ranks", several, options.threads), ("threads", [], options.ranks * options.threads)]
        found = {name: run_turn(line, options.seconds, threads) for name, line, threads in ways[:: 1 - 2 * (turn % 2)]}
        ratio = found["ranks"]["images_per_second"] / found["threads"]["images_per_second"]
        rows.append((found["ranks"], found["threads"], ratio))
        print(f"turn {turn + 1}: {ratio:.2f}", file=sys.stderr, flush=True)
    median, ratios = statistics.median, sorted(ratio for _, _, ratio in rows)
    several_speed, one_speed = (median(row[i]["images_per_second"] for row in rows) for i in (0, 1))
    print(f"nano, batch 128, {usable_cores()} cores, {options.turns} interleaved turns of {options.seconds:g} s")
    print(f"{options.ranks} processes x {options.threads} threads   {several_speed:.0f} images/s")
    print(f"1 process x {options.ranks * options.threads} threads      {one_speed:.0f} images/s")
    print(f"ratio: median {median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")
    fastest = min(row["seconds_per_sum"] for row, _, _ in rows)  # others wait for the scheduler, where cores are shared
    print(f"a sum of the gradient over the ranks: {1e3 * fastest:.2f} ms at its fastest")


if __name__ == "__main__":
    main()
