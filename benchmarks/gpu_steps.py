"""Our step on this GPU: are its losses right, is it captured, and how fast is it in each of its variants.

    python -m benchmarks.gpu_steps --out results

First twenty steps of nano, batch 512, in every precision, are held to those of `gpu_references.npz`, bfloat16 first;
then its images per second with epilogues never, always and measured, with sums in any order, on one stream,
uncaptured, in the other precisions, and with strong augmentation, whose numbers the host draws. Writes `steps.txt` and
`steps.json` after every row. Exit code 1: a row failed, or is wrong.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gpu_references as references
from benchmarks.gpu_references import Setting
from benchmarks.rows import Rows, failure_in
from tinymixer import MlpMixer
from tinymixer.backend import cupy_obstacle
from tinymixer.bench import ours_cupy
from tinymixer.bench.timing import steps_for
from tinymixer.data import Augmentation
from tinymixer.engines.cuda.captured_step import CapturedStep
from tinymixer.models import MixerConfig

STEPS = 20
PRECISIONS = ("bfloat16", "float32", "float16", "tf32")
# How far losses may be from float64's, relative, and the weights after ten steps, relative to how far those moved.
BOUNDS = {"float32": (1e-4, 1e-2), "tf32": (2e-3, 0.1), "bfloat16": (0.02, 0.4), "float16": (5e-3, 0.15)}
STRONG = Augmentation(
    crop_padding=4, flip=True, cutout=8, alternate_flip=True,
    transforms="rand_augment(2, 9) random_erasing(0.33, 0.25)", mixup=0.8, cutmix=1.0,
)  # fmt: skip
VARIANTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("epilogues measured", "bfloat16", {}),
    ("epilogues never", "bfloat16", {"epilogues": "never"}),
    ("epilogues always", "bfloat16", {"epilogues": "always"}),
    ("sums in any order", "bfloat16", {"deterministic": False}),
    ("one stream", "bfloat16", {"two_streams": False}),
    ("not captured", "bfloat16", {"captured": False}),
    ("as it is", "float16", {}),
    ("as it is", "tf32", {}),
    ("as it is", "float32", {}),
    ("strong augmentation", "bfloat16", {"augmentation": STRONG}),
)


def make_step(setting: Setting, precision: str, **options: Any) -> tuple[MlpMixer, CapturedStep]:
    """The captured step over a setting's data."""
    model = MlpMixer(setting.config, backend="cupy", seed=references.SEED)
    images, labels = setting.data()
    given = {
        "batch_size": setting.batch, "mean": references.MEAN, "std": references.STD, "fill": references.FILL,
        "augmentation": setting.augmentation, "label_smoothing": references.SMOOTHING, "precision": precision,
    }  # fmt: skip
    return model, CapturedStep(model, setting.optimizer(model.parameters), images, labels, **(given | options))


def first_losses(
    setting: Setting, wanted: Mapping[str, np.ndarray], precision: str, steps: int = STEPS, **options: Any
) -> dict[str, Any]:
    """A row: the losses of the first steps beside the references', and what the step says of itself."""
    row: dict[str, Any] = {"what": "losses", "precision": precision}
    with failure_in(row):
        model, step = make_step(setting, precision, **options)
        before, moved = model.parameters.to_numpy(), {}
        for s in range(steps):
            step.stage(setting.staged([s]))
            step.run()
            if s + 1 == references.MOVED_AFTER:
                moved = references.sketches(before, model.parameters.to_numpy())
        losses = step.recent(steps)[:, 0].astype(np.float64)
        apart = np.abs(losses - wanted["losses"][:steps]) / wanted["losses"][:steps]
        row |= {
            "losses": losses.tolist(),
            "largest_difference": float(apart.max()),
            "weights_apart": references.distance(moved, wanted) if moved else None,
            "captured": step.captured,
            "note": step.note,
            "fused": vars(step._mixer.fused),
            "skipped": step.totals().skipped,
        }
        most, furthest = BOUNDS[precision]
        # so that a NaN is not right
        row["right"] = bool(row["largest_difference"] <= most and (row["weights_apart"] or 0) <= furthest)
        step.close()
    return row


def rate(
    config: MixerConfig, batch: int, what: str, precision: str, options: Mapping[str, Any], seconds: float = 1.0
) -> dict[str, Any]:
    """A row: images per second of one variant, timed by the host's clock over about `seconds`, the best of three."""
    row: dict[str, Any] = {"what": what, "precision": precision}
    with failure_in(row):
        step = ours_cupy.make_captured_step(config, batch, precision, **options)
        run = ours_cupy.steps_of(step)
        steps, times = steps_for(run, seconds / 3), []
        for _ in range(3):
            started = time.perf_counter()
            run(steps)
            times.append((time.perf_counter() - started) / steps)
        row |= {
            "images_per_second": batch / min(times),
            "step_milliseconds": min(times) * 1e3,
            "captured": step.captured,
            "note": step.note,
            "fused": vars(step._mixer.fused),
        }
        step.close()
    return row


def text(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        start = f"{row['precision']:9} {row['what']:20} "
        if "failed" in row:
            lines.append(f"{start}FAILED: {row['failed']}")
            continue
        fused = "+".join(name for name, on in row["fused"].items() if on) or "nothing"
        how = f"{'captured' if row['captured'] else 'uncaptured'}, fused: {fused}"
        how += f"; {row['note']}" if row["note"] else ""
        if row["what"] == "losses":
            apart = "" if row["weights_apart"] is None else f", weights {row['weights_apart']:.2e}"
            lines.append(
                f"{start}{'right' if row['right'] else 'WRONG'}: {len(row['losses'])} losses differ by at most "
                f"{row['largest_difference']:.2e}{apart}, {row['skipped']} updates left out; {how}"
            )
        else:
            lines.append(
                f"{start}{row['images_per_second']:>10,.0f} images/s {row['step_milliseconds']:>8.3f} ms a step; {how}"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for steps.txt and steps.json")
    chosen = parser.parse_args()
    if obstacle := cupy_obstacle():
        parser.exit(2, f"error: {obstacle}\n")
    rows, wanted, setting = Rows(chosen.out, "steps", text), references.load(), references.NANO
    rows.add(first_losses(setting, wanted, "bfloat16"))
    for what, precision, options in VARIANTS[:6]:
        rows.add(rate(setting.config, setting.batch, what, precision, options))
    for precision in PRECISIONS[1:]:
        rows.add(first_losses(setting, wanted, precision))
    for what, precision, options in VARIANTS[6:]:
        rows.add(rate(setting.config, setting.batch, what, precision, options))
    print(text(rows), end="")
    sys.exit(1 if any("failed" in row or not row.get("right", True) for row in rows) else 0)


if __name__ == "__main__":
    main()
