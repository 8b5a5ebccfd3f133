"""Every kernel in each of its forms, from plain to fast: time, bandwidth, share of the machine's own copy rate.

    python -m benchmarks.gpu_kernels --model nano --precision bfloat16 --out results

The shapes are those of a training step. The sources in `tinymixer/kernels/cuda/` say what each form
adds. Writes
`kernels.txt` and `kernels.json` (a row per kernel).
"""

import argparse
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinymixer.backend import cupy_obstacle
from tinymixer.bench.ceilings import gpu_ceilings
from tinymixer.bench.models import MODELS
from tinymixer.data import Augmentation
from tinymixer.data.transforms.mixing import Mix
from tinymixer.draws import Draws
from tinymixer.engines.cuda.image_records import RecordLayout, pack_mix, pack_records
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.engines.cuda.update_settings import ELEMENTWISE, SETTING, UpdateSettings
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.precision import get_precision
from tinymixer.kernels.timing import HOLD, DeviceTimer
from tinymixer.kernels.traffic import bytes_moved
from tinymixer.models import MixerConfig, MlpMixer

Form = tuple[str, str, layouts.Launch, tuple[Any, ...]]  # what it computes, full name, layout, arguments
i32, i64, f32 = np.int32, np.int64, np.float32


class KernelForms:
    """The kernels of a step that take time, each with arguments of the sizes that a step has."""

    def __init__(self, cupy: Any, config: MixerConfig, batch: int, precision: str, multiprocessors: int) -> None:
        self.cupy, self.config, self.batch, self.sms = cupy, config, batch, multiprocessors
        self.precision = get_precision(precision)
        self.number, self.rows = self.precision.number, config.num_tokens * batch
        self.gelu = self.precision.gelu(config.gelu)

    def activations(self, rows: int, columns: int) -> Any:
        """Zeros (rows, columns) in the working format: no kernel's time depends on the numbers."""
        return self.cupy.zeros((rows, columns), self.precision.storage)

    def floats(self, *shape: int) -> Any:
        return self.cupy.zeros(shape, np.float32)

    def width(self, columns: int) -> int:
        return layouts.vector_width(self.precision.itemsize, columns)

    def all(self) -> Iterator[Form]:
        yield from self.channel_gelu()
        yield from self.token_gelu()
        yield from self.layer_norm()
        yield from self.dropout()
        yield from self.stem_and_head()
        yield from self.strong_augmentation()
        yield from self.updates()

    def channel_gelu(self) -> Iterator[Form]:
        rows, columns, v = self.rows, self.config.channels_mlp_dim, self.width(self.config.channels_mlp_dim)
        z, a, bias, dbias = self.activations(rows, columns), self.activations(rows, columns), *(
            self.floats(columns) for _ in range(2)
        )  # fmt: skip
        sizes, t, g, flat = (i64(rows), i64(columns)), self.number, self.gelu, layouts.flat
        what = "bias + GELU, per column"
        yield what, f"bias_gelu_forward_plain<{t}, {g}>", flat(z.size), (z, bias, a, *sizes, i32(0))
        yield what, f"bias_gelu_forward_wide<{t}, {v}, {g}>", flat(z.size, v), (z, bias, a, *sizes, i32(0))
        many = layouts.over_columns(rows, columns, v, self.sms, layouts.MANY_BLOCKS)
        yield what, f"bias_gelu_forward_columns<{t}, {v}, {g}>", many, (z, bias, a, *sizes)
        what = "bias + GELU backward, per column"
        yield what, f"bias_gelu_backward_plain<{t}, {g}>", flat(columns), (a, z, bias, dbias, *sizes, i32(0))
        few = layouts.over_columns(rows, columns, v, self.sms)
        partial = self.floats(few.grid[1] * columns)
        yield what, f"bias_gelu_backward_columns<{t}, {v}, {g}>", few, (a, z, bias, partial, *sizes, i32(0))
        yield "sums per column", f"column_sums<{t}, {v}>", few, (a, partial, *sizes, i32(0))

    def token_gelu(self) -> Iterator[Form]:
        rows, columns = self.config.tokens_mlp_dim, self.batch * self.config.hidden_dim
        z, a, bias, v = (
            self.activations(rows, columns),
            self.activations(rows, columns),
            self.floats(rows),
            self.width(columns),
        )
        sizes, t, g, flat = (i64(rows), i64(columns)), self.number, self.gelu, layouts.flat
        layout = layouts.over_rows(rows, columns, v, self.sms)
        partial = self.floats(layout.grid[0] * rows)
        what = "bias + GELU, per row"
        yield what, f"bias_gelu_forward_plain<{t}, {g}>", flat(z.size), (z, bias, a, *sizes, i32(1))
        yield what, f"bias_gelu_forward_wide<{t}, {v}, {g}>", flat(z.size, v), (z, bias, a, *sizes, i32(1))
        yield what, f"bias_gelu_forward_rows<{t}, {v}, {g}>", layout, (z, bias, a, i64(columns))
        what = "bias + GELU backward, per row"
        yield what, f"bias_gelu_backward_plain<{t}, {g}>", flat(rows), (a, z, bias, partial, *sizes, i32(1))
        yield what, f"bias_gelu_backward_rows<{t}, {v}, {g}>", layout, (a, z, bias, partial, i64(columns), i32(0))

    def layer_norm(self) -> Iterator[Form]:
        rows, channels, t = self.rows, self.config.hidden_dim, self.number
        x, branch, total, normed = (self.activations(rows, channels) for _ in range(4))
        scale, shift, bias = (self.floats(channels) for _ in range(3))
        mean, inv_std = self.floats(rows), self.floats(rows)
        row = layouts.RowLayout.of(channels, self.precision.itemsize)
        sizes = (i32(rows), i32(channels), i32(self.batch))
        given = (x, branch, bias, None, scale, shift, total, normed, mean, inv_std, *sizes, i32(0), f32(1e-6))
        what = "residual + bias + LayerNorm"
        yield what, f"layer_norm_forward_plain<{t}>", layouts.flat(rows), given
        yield what, f"layer_norm_forward_lanes<{t}>", layouts.per_warp(rows), given
        yield what, f"layer_norm_forward<{t}, {row.template}>", row.every_row(rows), given
        what, dn, dx = "LayerNorm backward + residual", branch, total
        given = (dn, x, scale, mean, inv_std, dx, dx, i32(rows), i32(channels))
        yield what, f"layer_norm_backward_plain<{t}>", layouts.flat(rows), given
        given = (dn, x, mean, inv_std, scale, shift, i32(rows), i32(channels))
        yield what, f"layer_norm_parameters_plain<{t}>", layouts.flat(channels), given
        layout = row.persistent(rows, channels, self.sms)
        partials = [self.floats(layout.grid[0] * channels) for _ in range(3)]
        given = (dn, None, x, scale, mean, inv_std, dx, None, dx, None, *partials, None, *sizes, i32(0))
        yield what, f"layer_norm_backward<{t}, {row.template}>", layout, given

    def dropout(self) -> Iterator[Form]:
        config, batch = self.config, self.batch
        hidden, key = self.activations(self.rows, config.channels_mlp_dim), self.cupy.zeros(4, np.uint32)
        v, columns = self.width(config.channels_mlp_dim), i32(config.channels_mlp_dim)
        given = (
            hidden,
            key,
            np.uint32(0),
            i32(0),
            i32(batch),
            columns,
            i64(hidden.size),
            np.uint32(58982),
            f32(1 / 0.9),
        )
        yield "dropout", f"dropout<{self.number}, {v}>", layouts.striding(hidden.size, v, self.sms), given

    def stem_and_head(self) -> Iterator[Form]:
        config, batch, t = self.config, self.batch, self.number
        pixels = self.cupy.zeros((batch, config.image_size, config.image_size, config.in_channels), np.uint8)
        patches, v = self.activations(self.rows, config.patch_features), self.width(config.patch_features)
        normalisation = self.cupy.asarray(np.ones((3, config.in_channels), np.float32))
        numbers = (config.image_size, config.in_channels, config.patch_size, config.overlap, 0, 0, batch)
        choices = self.cupy.zeros((batch, 6), np.int32)
        given = (pixels, choices, normalisation, patches, *map(i32, numbers))
        yield "patches", f"gather_patches_plain<{t}>", layouts.flat(patches.size), (*given, i64(patches.size))
        layout = layouts.patch_rows(self.rows, config.patch_features, v)
        yield "patches", f"gather_patches<{t}, {v}>", layout, (*given, i32(self.rows))
        logits, dlogits = self.floats(batch, config.num_classes), self.floats(batch, config.num_classes)
        losses, correct = self.floats(batch), self.cupy.zeros(batch, np.int32)
        given = (logits, self.cupy.zeros(batch, np.int64), None, None, None, None, None, dlogits, losses, correct,
                 i32(batch), i32(batch), i32(config.num_classes), f32(0))  # fmt: skip
        yield "cross-entropy", "cross_entropy_plain<float>", layouts.flat(batch), given
        yield "cross-entropy", "cross_entropy<float>", layouts.per_warp(batch), given
        parts, columns = 3 * self.sms, 4096
        partials, results = self.floats(parts, columns), self.floats(columns)
        sums = self.cupy.asarray(np.array([[0, columns, 1, parts, columns, 0]], np.int64))
        blocks, layout = layouts.sum_blocks([columns])
        given = (partials, sums, results, i32(1), i32(0))
        yield "finishing sums", "finish_sums_plain<float>", layouts.flat(columns), given
        given = (partials, sums, self.cupy.asarray(np.array(blocks, np.int32)), results, i32(0))
        yield "finishing sums", "finish_sums<float>", layout, given

    def strong_augmentation(self) -> Iterator[Form]:
        """With five operations on the colours of every image: more than most recipes have."""
        config, batch = self.config, self.batch
        augmentation = Augmentation(transforms="rotate brightness contrast saturation sharpness posterize erase")
        size, channels, features = config.image_size, config.in_channels, config.patch_features
        layout, numbers = RecordLayout.of(augmentation, channels), np.arange(batch)
        drawn = augmentation.draw(Draws(0, 0, 0, numbers), numbers, (size, size, channels))
        records = self.cupy.asarray(pack_records(layout, augmentation, numbers, drawn, size))
        pixels = self.cupy.zeros((batch, size, size, channels), np.uint8)
        images, scratch = (self.floats(batch, size, size, channels) for _ in range(2))
        mix = self.cupy.asarray(pack_mix(Mix(1, 0.5)))
        counts = (size, channels, batch, layout.words, layout.boxes, layout.operations, layout.amounts)
        given = (pixels, records, self.floats(3, channels), mix, images, scratch, *map(i32, counts))
        yield "images with strong augmentation", "augment_images<float>", layouts.per_image(batch), given
        patches, v = self.activations(self.rows, features), self.width(features)
        counts = (size, channels, config.patch_size, 0, 0, batch, self.rows)
        given = (images, self.cupy.zeros(batch, np.int32), mix, patches, *map(i32, counts))
        name, rows = f"mix_patches<{self.number}, {v}>", layouts.patch_rows(self.rows, features, v)
        yield "patches of mixed images", name, rows, given

    def updates(self) -> Iterator[Form]:
        size, t = int(MlpMixer(self.config).parameters.values.size), self.number
        vectors = [self.floats(size) for _ in range(4)]
        settings = UpdateSettings(np.array([(1, 0, ELEMENTWISE)], SETTING), np.zeros(size // 16, np.uint16))
        working = self.cupy.zeros(size, self.precision.storage) if self.precision.has_working_copy else None
        state = self.cupy.zeros(STEP_STATE.itemsize, np.uint8)
        for name, taken, numbers in (
            ("sgd", vectors[:3], (f32(0.9), i32(1), i32(0))),
            ("adamw", vectors, (f32(0.9), f32(0.99), f32(1e-8))),
        ):
            given = (state, *taken, *settings.on_device(self.cupy), working, *numbers, i64(size))
            yield f"{name} update", f"{name}_update_plain<{t}>", layouts.flat(size), given
            yield f"{name} update", f"{name}_update<{t}>", layouts.flat(size, 4), given


def measure(cupy: Any, config: MixerConfig, batch: int, precision: str, copy_rate: float) -> list[dict[str, Any]]:
    """A row per form: what it computes, kernel, microseconds, bytes, gigabytes per second, share of the copy rate."""
    stream = cupy.cuda.Stream()
    with stream:
        multiprocessors = int(cupy.cuda.Device().attributes["MultiProcessorCount"])
        forms = list(KernelForms(cupy, config, batch, precision, multiprocessors).all())
        kernels, rows = Kernels(cupy, [*(name for _, name, _, _ in forms), HOLD]), []
        timer = DeviceTimer(cupy, stream, kernels.launch)
        for what, name, layout, arguments in forms:
            seconds = timer.seconds(functools.partial(kernels.launch, name, layout, *arguments), times=4)
            count = bytes_moved(name, arguments)
            rows.append(
                {
                    "what": what,
                    "kernel": name,
                    "precision": precision,
                    "microseconds": seconds * 1e6,
                    "bytes": count,
                    "gigabytes_per_second": count / seconds / 1e9,
                    "share_of_copy_ceiling": count / seconds / copy_rate,
                }
            )
    return rows


def text(rows: list[dict[str, Any]], title: str) -> str:
    lines = [title, f"{'kernel':58} {'us':>10} {'MB':>9} {'GB/s':>8} {'of copy':>8}"]
    before = None
    for row in rows:
        if row["what"] != before:
            lines.append(f"{row['what']}:")
            before = row["what"]
        lines.append(
            f"  {row['kernel']:56} {row['microseconds']:>10,.1f} {row['bytes'] / 1e6:>9,.1f} "
            f"{row['gigabytes_per_second']:>8,.0f} {row['share_of_copy_ceiling']:>8.1%}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="nano")
    parser.add_argument("--precision", choices=["float32", "tf32", "bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--out", type=Path, help="folder for kernels.txt and kernels.json")
    chosen = parser.parse_args()
    if obstacle := cupy_obstacle():
        parser.exit(2, f"error: {obstacle}\n")
    import cupy

    config, batch = MODELS[chosen.model]
    copy_rate = gpu_ceilings(chosen.precision)["copy_bytes_per_second"]
    rows = measure(cupy, config, batch, chosen.precision, copy_rate)
    title = f"{chosen.model}, batch {batch}, {chosen.precision}; a copy moves {copy_rate / 1e9:,.0f} GB/s here"
    print(text(rows, title), end="")
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "kernels.json").write_text(json.dumps(rows, indent=1))
        (chosen.out / "kernels.txt").write_text(text(rows, title))


if __name__ == "__main__":
    main()
