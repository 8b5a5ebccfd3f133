"""The gradient check of everything this package differentiates: what `tinymixer gradcheck` runs."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tinymixer import layers
from tinymixer.backend import Backend, get_backend
from tinymixer.gradcheck.layer import check_layer, check_model
from tinymixer.gradcheck.operation import check_operation
from tinymixer.gradcheck.report import Report
from tinymixer.models import (
    BitConfig,
    BoTNetConfig,
    LinearMixerConfig,
    MixerConfig,
    NfResNetConfig,
    ResNetConfig,
    ViTConfig,
    make_model,
    model_class,
)
from tinymixer.options import Options

GRIDS = {1: (1, 1), 3: (3, 1), 4: (2, 2), 16: (2, 8)}  # S -> patches down and across
SHAPES = ((1, 1, 1), (3, 2, 5), (4, 1, 7), (16, 3, 24))  # (S, B, C): size one, odd, even, and one beyond full Jacobians
IMAGES = (  # (B, height, width, C), side of the windows, stride, padding
    ((1, 1, 1, 1), 1, 1, 0),
    ((2, 3, 5, 1), 3, 1, 1),
    ((3, 7, 6, 2), 3, 2, 1),
)

Check = tuple[str, Callable[[], Report]]


def check_everything(
    progress: Callable[[str, int, int], None] | None = None, seed: int = 0, backend: str | Backend = "numpy"
) -> Report:
    """Check every operation and layer, and a small model with its loss, each at several shapes.

    progress   called with (what is checked next, how many are done, how many there are), for a progress bar
    seed       of the inputs, weights and cotangents
    backend    "numpy", "cupy" or "auto": where the arrays are, and which implementation of each operation is checked

    Takes a few seconds. Returns one Report of all rows.
    """
    started = time.perf_counter()
    checks = all_checks(seed, get_backend(backend))
    reports = []
    for done, (name, check) in enumerate(checks):
        if progress is not None:
            progress(name, done, len(checks))
        reports.append(check())
    if progress is not None:
        progress("", len(checks), len(checks))
    report = Report().merged(reports)
    report.seconds = time.perf_counter() - started
    return report


def all_checks(seed: int, backend: Backend) -> list[Check]:
    """The checks of operations, layers and models, each with its name."""
    return [*operation_checks(seed, backend), *layer_checks(seed, backend), *model_checks(seed, backend)]


def operation_checks(seed: int, backend: Backend) -> Iterator[Check]:
    """Every pair of operations at several shapes."""
    normal = np.random.default_rng(seed).standard_normal

    operation = partial(_operation, backend)
    for S, B, C in SHAPES:
        x = normal((S, B, C))
        yield operation("linear", x, normal((C, C + 2)), normal(C + 2))
        yield operation("token_linear", x, normal((S + 1, S)), normal(S + 1))
        yield operation("gelu_tanh", 2 * x)
        yield operation("gelu_erf", 2 * x)
        yield operation("layer_norm", x, normal(C), normal(C))
        yield operation("mean_over_tokens", x)
        yield operation("layer_scale", x, normal(C))
        yield operation("gate", x, normal((S, B, C)))
        yield operation("pool_tokens", x, GRIDS[S])
        yield operation("dropout", x, normal((S, B, C)) > 0.5, 0.3)
        yield operation("drop_path", x, normal(B) > 0.5, 0.3)
        yield operation("softmax", 2 * x)
        yield operation("self_attention", normal((S, B, 3 * C)), 1)
        yield operation("position_embedding", x, normal((S, C)))
        yield operation("prepend_class_token", x, normal(C))
        yield operation("take_class_token", x)
        yield operation("softmax_cross_entropy", normal((S, C)), np.arange(S) % C)
        yield operation("softmax_cross_entropy", normal((S, C)), _rows_of_probabilities(normal((S, C))), 0.1)
    for C, heads in ((12, 2), (27, 3)):
        yield operation("self_attention", normal((5, 2, C)), heads)
    for shape, heads, D in (((1, 3, 2, 12), 2, 2), ((2, 1, 2, 9), 3, 1)):
        qkv, tables = normal(shape), (normal((2 * side - 1, D)) for side in shape[1:3])
        yield operation("relative_attention", qkv, *tables, heads)
    for shape, patch_size in (((1, 1, 1, 1), 1), ((2, 3, 9, 1), 3), ((1, 4, 4, 3), 4), ((3, 8, 12, 3), 2)):
        yield operation("images_to_patches", normal(shape), patch_size)
    overlapping = (((1, 1, 1, 1), 1, 0), ((2, 3, 9, 1), 3, 2), ((1, 4, 4, 3), 4, 3), ((3, 8, 12, 3), 2, 1))
    for shape, patch_size, overlap in overlapping:
        yield operation("images_to_windows", normal(shape), patch_size, overlap)
    yield from _convolution_checks(normal, operation)


def _convolution_checks(normal: Callable[..., np.ndarray], operation: Callable[..., Check]) -> Iterator[Check]:
    """The operations of convolutional networks: windows that overlap, that leave pixels out, and borders."""
    for (B, height, width, C), size, stride, padding in IMAGES:
        x, outputs = normal((B, height, width, C)), C + 1
        weight = normal((size, size, C, outputs))
        yield operation("convolution", x, weight, normal(outputs), stride, padding)
        yield operation("max_pooling", x, size, stride, min(padding, size // 2))
        yield operation("average_pooling", x, size, stride)
        yield operation("global_average_pooling", x)
        yield operation("relu", x)
        yield operation("batch_norm_inference", x, normal(C), normal(C), normal(C), normal(C) ** 2)
        yield operation("group_norm", normal((B, height, width, 2 * C)), normal(2 * C), normal(2 * C), 2)
        yield operation("weight_standardisation", normal((size, 2, C, outputs)))
        yield operation("scaled_weight_standardisation", normal((size, 2, C, outputs)), normal(outputs))
        if x.size > C:  # a single value of a channel has no variance
            yield operation("batch_norm", x, normal(C), normal(C))
    yield operation("convolution", normal((1, 5, 4, 2)), normal((2, 3, 2, 3)), None, 2)  # without bias
    yield operation("average_pooling", normal((1, 3, 3, 1)), 2, 2, True)  # windows that hang over
    yield operation("max_pooling", np.maximum(normal((2, 6, 6, 3)), 0), 3, 2, 1)  # with many ties


def layer_checks(seed: int, backend: Backend) -> Iterator[Check]:
    """Every layer at several shapes, with and without what training drops, in both forms of GELU."""
    normal = np.random.default_rng([seed, 1]).standard_normal

    layer = partial(_layer, backend)
    for S, B, C in SHAPES:
        x = normal((S, B, C))
        yield layer(layers.Linear, (C, 3), x)
        yield layer(layers.LayerNorm, (C,), x)
        yield layer(layers.Mlp, (C, 5), x, gelu="erf")
        yield layer(layers.LayerScale, (C, 0.3), x)
        yield layer(layers.GatedChannelMixing, (C, 5), x, train=True, dropout=0.3)
        yield layer(layers.TokenMixing, (S, 3), x)
        yield layer(layers.TokenLinear, (S, 3), x)
        yield layer(layers.TokenPooling, (GRIDS[S],), x)
        yield layer(layers.MultiHeadSelfAttention, (C, 1), x)
        yield layer(layers.PositionEmbedding, (S, C), x)
        yield layer(layers.ClassToken, (C,), x)
        yield layer(layers.ChannelMixing, (C, 5), x, train=True, dropout=0.3)
        yield layer(layers.LinearMixerBlock, (S, C), x)
    variants: dict[str, Any] = {"untied_groups": 2, "gated": True, "layer_scale": 0.3}
    untied = layers.BlockSizes((2, 2), 4, tokens_mlp_dim=3, channels_mlp_dim=3, dropout=0.2, **variants)
    yield layer(layers.UntiedTokenMixing, (untied,), normal((4, 2, 4)), train=True)
    yield layer(layers.MixerBlock, (untied,), normal((4, 2, 4)), train=True, drop_path=0.3)
    yield layer(layers.GroupedTokenMixing, (4, 3, 2), normal((4, 2, 6)), train=True, dropout=0.3)
    yield layer(layers.GroupedTokenMixing, (3, 2, 3), normal((3, 1, 9)), gelu="erf")
    yield from _convolution_layer_checks(normal, layer)
    for S, B, C in SHAPES[:-1]:
        sizes = layers.BlockSizes(GRIDS[S], C, tokens_mlp_dim=3, channels_mlp_dim=4, dropout=0.2)
        for token_mixer in layers.TOKEN_MIXERS:
            yield layer(
                layers.MixerBlock, (sizes, token_mixer), normal((S, B, C)), token_mixer, train=True, drop_path=0.3
            )


def _convolution_layer_checks(normal: Callable[..., np.ndarray], layer: Callable[..., Check]) -> Iterator[Check]:
    """The layers of convolutional networks, batch norm with the batch's statistics and with kept ones."""
    x = normal((2, 4, 5, 2))
    for kind in (layers.Convolution, layers.StandardisedConvolution, layers.ScaledStandardisedConvolution):
        yield layer(kind, (2, 3, 3, 2), x)
    for train in (True, False):
        yield layer(layers.BatchNorm, (2,), x, train=train)
    yield layer(layers.GroupNorm, (2, 1), x)
    yield layer(layers.Relu, (1.5,), x)
    yield layer(layers.MaxPooling, (3, 2, 1), x)
    yield layer(layers.AveragePooling, (2,), x)
    yield layer(layers.OverhangingAveragePooling, (2,), x)
    yield layer(layers.GlobalAveragePooling, (), x)
    yield layer(layers.RelativeAttention, (4, 2, 3, 2), normal((2, 3, 2, 12)))
    branch = {"norm": layers.Part(layers.BatchNorm, 2), "convolution": layers.Part(layers.Convolution, 2, 3, 3, 2)}
    yield layer(layers.Chain, (branch,), x, train=True)
    yield layer(layers.Residual, (branch, {"convolution": branch["convolution"]}, 0.5), x, train=True)


def model_checks(seed: int, backend: Backend) -> Iterator[Check]:
    """Small models with their loss: even and odd sizes, every token mixer, both forms of GELU, dropping and not."""
    generator = np.random.default_rng([seed, 2])
    patches: list[dict[str, Any]] = [
        {"image_size": 8, "in_channels": 3, "patch_size": 4, "hidden_dim": 6, "num_classes": 4},
        {"image_size": 9, "in_channels": 1, "patch_size": 3, "hidden_dim": 5, "num_classes": 3},
        {"image_size": 6, "in_channels": 2, "patch_size": 2, "hidden_dim": 7},
    ]
    mixers: list[dict[str, Any]] = [
        *({}, {"gelu": "erf"}, {"dropout": 0.2, "drop_path": 0.3}),
        *({"tokens": "linear"}, {"tokens": "pool", "drop_path": 0.3}, {"tokens": "none"}),
        {"tokens": "attention", "heads": 3},
        {"hidden_dim": 6, "overlap": 2, "untied_groups": 2, "gated": True, "layer_scale": 0.3, "num_blocks": 1},
    ]
    for i, fields in enumerate(mixers):
        sizes = {"tokens_mlp_dim": 3, "channels_mlp_dim": 8, "num_blocks": 2, **patches[i % 3], **fields}
        yield _model("mlp_mixer", MixerConfig(**sizes), backend, generator, train="drop_path" in fields)
    images = {"image_size": 4, "in_channels": 2, "width": 2, "depths": "1", "block": "bottleneck", "num_classes": 3}
    for architecture, kind, fields in (
        ("resnet", ResNetConfig, {}),
        ("bit", BitConfig, {"groups": 1}),
        ("nf_resnet", NfResNetConfig, {}),
        ("botnet", BoTNetConfig, {"heads": 2}),
    ):
        yield _model(architecture, kind.from_dict(images | fields), backend, generator, train=True)
    for sizes in patches[:2]:
        yield _model("linear_mixer", LinearMixerConfig(num_blocks=2, **sizes), backend, generator, train=False)
    transformers: list[dict[str, Any]] = [{"heads": 3, "drop_path": 0.3}, {"heads": 5, "pool": "mean", "gelu": "erf"}]
    for sizes, fields in zip(patches, transformers, strict=False):
        config = ViTConfig(channels_mlp_dim=4, num_blocks=1, **sizes, **fields)
        yield _model("vit", config, backend, generator, train="drop_path" in fields)


def _operation(backend: Backend, name: str, *inputs: Any) -> Check:
    forward, backward = getattr(backend.ops, f"{name}_forward"), getattr(backend.ops, f"{name}_backward")
    soft = name == "softmax_cross_entropy" and inputs[1].ndim == 2  # its targets are floats, but constants
    chosen = [0] if soft else [0, 1, 2] if name == "batch_norm_inference" else None  # its statistics are constants
    placed = [backend.asarray(value) if isinstance(value, np.ndarray) else value for value in inputs]
    return name, lambda: check_operation(forward, backward, *placed, name=name, differentiate=chosen)


def _layer(
    backend: Backend, kind: type, sizes: Any, x: np.ndarray, tokens: str = "mlp", train: bool = False, **options: Any
) -> Check:
    def check() -> Report:
        wide, narrow = (kind(*sizes, **options, backend=backend, dtype=dtype) for dtype in ("float64", "float32"))
        name = _with_tokens(kind.__name__, tokens)
        return check_layer(wide, backend.asarray(x), train, name=name, float32_twin=narrow)

    return kind.__name__, check


def _model(architecture: str, config: Options, backend: Backend, generator: np.random.Generator, train: bool) -> Check:
    sizes: Any = config  # with the fields that `Model` asks for
    images = generator.standard_normal((3, sizes.image_size, sizes.image_size, sizes.in_channels))
    labels = generator.integers(0, sizes.num_classes, 3)
    name = model_class(architecture).__name__

    def check() -> Report:
        made = partial(make_model, architecture, config, backend=backend)
        wide, narrow = made(dtype="float64"), made(dtype="float32")
        placed = backend.asarray(images), backend.asarray(labels)
        shown = _with_tokens(name, getattr(config, "tokens", "mlp"))
        return check_model(wide, *placed, train=train, name=shown, label_smoothing=0.1, float32_twin=narrow, samples=3)

    return name, check


def _with_tokens(name: str, tokens: str) -> str:
    """The name in the report, which says how tokens are mixed where that is not the Mixer's way."""
    return name if tokens == "mlp" else f"{name}, {tokens}"


def _rows_of_probabilities(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores)
    return weights / weights.sum(axis=1, keepdims=True)
