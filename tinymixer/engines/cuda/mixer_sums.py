"""Which sums a Mixer's backward pass leaves as partial sums, and where they lie in `DeviceSums`.

"Norm i" and "branch i" are explained in `device_mixer.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tinymixer.engines.cuda.device_sums import DeviceSums
from tinymixer.engines.cuda.memory_plan import FusedMlps
from tinymixer.engines.cuda.mixer_launches import MixerLaunches
from tinymixer.models import MixerConfig


def norm_name(config: MixerConfig, i: int) -> str:
    if i == 2 * config.num_blocks:
        return "pre_head_layer_norm"
    return f"blocks.{i // 2}.{'channel' if i % 2 else 'token'}_norm"


def branch_bias_name(i: int) -> str:
    """The bias of the product whose output norm i adds to the residual stream."""
    if i == 0:
        return "stem.bias"
    return f"blocks.{(i - 1) // 2}.{'token' if i % 2 else 'channel'}_mixing.bias2"


def by_token(i: int) -> bool:
    """Whether that bias is one number per token: token mixing's is, and it comes before every channel norm."""
    return i % 2 == 1


@dataclass(frozen=True)
class MixerSums:
    """Offsets in `DeviceSums`.

    dlogits   the logits' gradient (B, K): the head's bias gradient sums it over images, so it lies among partial sums
    norms     by norm: its scale, its bias, and the branch's bias summed down the rows or across them (the other None)
    gelu      by (block, "token" or "channel"): the first product's bias
    """

    dlogits: int
    norms: list[tuple[int, int, int | None, int | None]]
    gelu: dict[tuple[int, str], int]

    @classmethod
    def reserve(
        cls, sums: DeviceSums, config: MixerConfig, launches: MixerLaunches, images: int, target: Callable[[str], int],
        fused: FusedMlps,
    ) -> "MixerSums":  # fmt: skip
        """Reserve memory for all of them, except for the biases that tile kernels sum.

        target   where a parameter's gradient starts, by its name
        """
        S, B, C, K = config.num_tokens, images, config.hidden_dim, config.num_classes
        blocks = launches.norm_backward[1].grid[0]
        dlogits, norms, gelu = sums.reserve_whole(B, K, target("head.bias")), [], {}
        for i in range(2 * config.num_blocks + 1):
            norm, bias = norm_name(config, i), branch_bias_name(i)
            scale, shift = (sums.reserve(blocks, C, target(f"{norm}.{name}")) for name in ("scale", "bias"))
            across = sums.reserve_across(S, B, target(bias)) if by_token(i) else None
            down = None if by_token(i) else sums.reserve(blocks, C, target(bias))
            norms.append((scale, shift, down, across))
        for block in range(config.num_blocks):
            for kind, parts, columns in (
                ("token", launches.gelu_backward["token"][1].grid[0], config.tokens_mlp_dim),
                ("channel", launches.gelu_backward["channel"][1].grid[1], config.channels_mlp_dim),
            ):
                if not fused.backward(kind):
                    gelu[block, kind] = sums.reserve(parts, columns, target(f"blocks.{block}.{kind}_mixing.bias1"))
        return cls(dlogits, norms, gelu)
