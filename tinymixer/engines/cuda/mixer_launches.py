"""The kernel launches of a Mixer's step: the names and thread layouts that follow from its sizes alone."""

import math

from tinymixer.engines.cuda.bernoulli_masks import KINDS, hidden_shape
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.launch import Launch
from tinymixer.kernels.precision import Precision
from tinymixer.models import MixerConfig

Named = tuple[str, Launch]  # a kernel's full name, and how it is laid out over threads
ALWAYS = ("finish_sums<float>", "fill_rows<float>", "cross_entropy<float>", "branch_factors<float>")


class MixerLaunches:
    """The launches for `images` images in a step, on a GPU with `multiprocessors` multiprocessors.

    norm_forward, norm_mean, norm_backward, patches, column_sums   one each
    gelu_forward, gelu_backward, dropout   by the kind of the MLP: "token" or "channel"
    """

    def __init__(self, config: MixerConfig, precision: Precision, images: int, multiprocessors: int) -> None:
        number, itemsize, gelu = precision.number, precision.itemsize, precision.gelu(config.gelu)
        B, C, DC, rows = images, config.hidden_dim, config.channels_mlp_dim, config.num_tokens * images
        row = layouts.RowLayout.of(C, itemsize)
        norm = f"<{number}, {row.template}>"
        self.norm_forward: Named = f"layer_norm_forward{norm}", row.every_row(rows)
        self.norm_mean: Named = f"layer_norm_mean_forward{norm}", row.every_image(B, C)
        self.norm_backward: Named = f"layer_norm_backward{norm}", row.persistent(rows, C, multiprocessors)

        v = layouts.vector_width(itemsize, B * C)
        by_row = layouts.over_rows(config.tokens_mlp_dim, B * C, v, multiprocessors)
        w = layouts.vector_width(itemsize, DC)
        by_column = layouts.over_columns(rows, DC, w, multiprocessors)
        self.column_sums: Named = f"column_sums<{number}, {w}>", by_column
        self.gelu_forward: dict[str, Named] = {
            "token": (f"bias_gelu_forward_rows<{number}, {v}, {gelu}>", by_row),
            "channel": (
                f"bias_gelu_forward_columns<{number}, {w}, {gelu}>",
                layouts.over_columns(rows, DC, w, multiprocessors, layouts.MANY_BLOCKS),
            ),
        }
        self.gelu_backward: dict[str, Named] = {
            "token": (f"bias_gelu_backward_rows<{number}, {v}, {gelu}>", by_row),
            "channel": (f"bias_gelu_backward_columns<{number}, {w}, {gelu}>", by_column),
        }

        v = layouts.vector_width(itemsize, config.patch_features)
        self.patches: Named = f"gather_patches<{number}, {v}>", layouts.patch_rows(rows, config.patch_features, v)
        self.dropout: dict[str, Named] = {}
        for kind in KINDS if config.dropout else ():
            shape = hidden_shape(config, kind, B)
            v = layouts.vector_width(itemsize, shape[2])
            self.dropout[kind] = f"dropout<{number}, {v}>", layouts.striding(math.prod(shape), v, multiprocessors)

    @property
    def kernel_names(self) -> list[str]:
        named = [self.norm_forward, self.norm_mean, self.norm_backward, self.patches, self.column_sums]
        for by_kind in (self.gelu_forward, self.gelu_backward, self.dropout):
            named += by_kind.values()
        return [name for name, _ in named] + list(ALWAYS)
