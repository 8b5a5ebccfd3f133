"""Two uncaptured steps of small models, for NVIDIA's compute-sanitizer to watch.

    compute-sanitizer --tool racecheck python -m benchmarks.gpu_sanitizer
    compute-sanitizer --tool memcheck python -m benchmarks.gpu_sanitizer

Even sizes and odd ones, every precision, dropout, stochastic depth, cutout, every transform, mixup, CutMix, parts,
recomputed hidden layers. The
sanitizer slows kernels down ten to a hundred times, so the models are tiny. Memory comes straight from CUDA: inside
CuPy's pool an access beyond the end of an array would be one inside another.
"""

import argparse
import sys
from typing import Any

from benchmarks.gpu_references import Setting
from benchmarks.gpu_steps import make_step
from benchmarks.rows import failure_in
from tinymixer.backend import cupy_obstacle
from tinymixer.data import Augmentation
from tinymixer.data.transforms.catalogue import TRANSFORMS
from tinymixer.models import MixerConfig

EVEN = MixerConfig(
    image_size=8, patch_size=4, hidden_dim=32, tokens_mlp_dim=16, channels_mlp_dim=64, num_blocks=2, drop_path=0.3
)
ODD = MixerConfig(
    image_size=6, patch_size=2, hidden_dim=7, tokens_mlp_dim=5, channels_mlp_dim=9, num_blocks=2, num_classes=3,
    gelu="erf", dropout=0.2,
)  # fmt: skip
BATCH = 6
WEAK = Augmentation(crop_padding=2, flip=True, cutout=3)
STRONG = Augmentation(
    crop_padding=2, flip=True, cutout=3, transforms=" ".join(TRANSFORMS) + " rand_augment", mixup=0.8, cutmix=1.0
)
CASES: tuple[tuple[str, MixerConfig, str, dict[str, Any]], ...] = (
    ("even", EVEN, "bfloat16", {}),
    ("even, epilogues", EVEN, "bfloat16", {"epilogues": "always"}),
    ("odd", ODD, "bfloat16", {}),
    ("even, in parts", EVEN, "float16", {"micro_batches": 2, "recompute": True}),
    ("odd, any order", ODD, "float16", {"deterministic": False}),
    ("odd, in parts", ODD, "float32", {"micro_batches": 3}),
    ("even", EVEN, "tf32", {"two_streams": False}),
    ("even, strong", EVEN, "bfloat16", {"augmentation": STRONG}),
    ("odd, strong", ODD, "float32", {"augmentation": STRONG, "micro_batches": 2}),
)


def run(case: tuple[str, MixerConfig, str, dict[str, Any]]) -> dict[str, Any]:
    """Take two steps of a case, and classify some images: a row."""
    name, config, precision, options = case
    row: dict[str, Any] = {"what": name, "precision": precision}
    with failure_in(row):
        setting = Setting(config, BATCH, 2, options.get("augmentation", WEAK))
        options = {"captured": False, "epilogues": "never"} | options  # nothing is timed here
        _, step = make_step(setting, precision, **options)
        step.stage(setting.staged(range(2)))
        step.run(2)
        step.logits(step.training_pixels, setting.staged([0])[0].indices)
        row["loss"] = float(step.recent(1)[0, 0])
        step.close()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    if obstacle := cupy_obstacle():
        parser.exit(2, f"error: {obstacle}\n")
    import cupy

    cupy.cuda.set_allocator(None)
    failed = 0
    for case in CASES:
        row = run(case)
        failed += "failed" in row
        print(f"{row['precision']:9} {row['what']:16} {row.get('failed') or format(row['loss'], '.6f')}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
