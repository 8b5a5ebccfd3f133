"""Exercises 9.4 and 9.5: parameters and multiply-adds of a Mixer."""

import math

from tinymixer.lessons.exercise import Mistake, exercise
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.models.summary import layer_rows


def _config(S, C, DS, DC, L, P, K, in_channels):
    return MixerConfig(
        image_size=P * math.isqrt(S),
        in_channels=in_channels,
        patch_size=P,
        hidden_dim=C,
        tokens_mlp_dim=DS,
        channels_mlp_dim=DC,
        num_blocks=L,
        num_classes=K,
    )


def _sizes(generator):
    """S, C, DS, DC, L, P, K, in_channels: all different, nano, one block, the digits."""
    return (
        (9, 5, 7, 11, 3, 2, 4, 1),
        (64, 128, 64, 512, 8, 4, 10, 3),
        (4, 3, 5, 6, 1, 1, 2, 3),
        (16, 48, 24, 96, 3, 2, 10, 1),
    )


def _parameter_count(S, C, DS, DC, L, P, K, in_channels):
    return MlpMixer(_config(S, C, DS, DC, L, P, K, in_channels)).parameters.count


def _counted(biases=1, per_norm=2, norms=2, last_norm=1, colours=True, stems=None, blocks=None, shared=True):
    """The formula with something left out."""

    def count(S, C, DS, DC, L, P, K, in_channels):
        token = (2 * S * DS + biases * (DS + S)) * (1 if shared else C)
        channel = 2 * C * DC + biases * (DC + C)
        block = token + channel + norms * per_norm * C
        stem = P * P * (in_channels if colours else 1) * C + biases * C
        head = C * K + biases * K
        return stem * (S if stems else 1) + (blocks or L) * block + last_norm * per_norm * C + head

    return count


exercise(
    "9.4",
    "Parameters of a Mixer",
    "my_parameter_count",
    reference=_parameter_count,
    cases=_sizes,
    returns="count",
    mistakes=[
        Mistake(
            "The last LayerNorm is missing, pre_head_layer_norm, after the blocks.",
            _counted(last_norm=0),
        ),
        Mistake("The LayerNorms are missing: two in each block and one after them.", _counted(norms=0, last_norm=0)),
        Mistake("The LayerNorms in the blocks are missing: there are two in each.", _counted(norms=0)),
        Mistake("Each block has two LayerNorms, one before each mixing.", _counted(norms=1)),
        Mistake("A LayerNorm has a scale and a bias for each channel.", _counted(per_norm=1)),
        Mistake("The biases of the Linears are missing, one per output.", _counted(biases=0)),
        Mistake(
            "A pixel has in_channels numbers: a patch vector is P*P*in_channels long.",
            _counted(colours=False),
        ),
        Mistake("There are L blocks, and each has parameters of its own.", _counted(blocks=1)),
        Mistake("All tokens share one stem: it counts once.", _counted(stems=True)),
        Mistake("All channels share the token-mixing weights: they count once.", _counted(shared=False)),
    ],
)


def _multiply_adds(S, C, DS, DC, L, P, K, in_channels):
    """Counted while one image passes through a model."""
    model = MlpMixer(_config(S, C, DS, DC, L, P, K, in_channels), seed=None)
    return sum(row.multiply_adds for row in layer_rows(model))


def _work(token=None, channel=None, stem=None, head=None, blocks=None, factor=1):
    """The formula, with the uses of some part's weights replaced by a function of (S, C)."""

    def work(S, C, DS, DC, L, P, K, in_channels):
        def uses(wrong, right):
            return wrong(S, C) if wrong else right

        total = uses(stem, S) * P * P * in_channels * C + uses(head, 1) * C * K
        each = uses(token, C) * 2 * S * DS + uses(channel, S) * 2 * C * DC
        return factor * (total + (blocks or L) * each)

    return work


def _once(S, C):
    return 1


exercise(
    "9.5",
    "Multiply-adds of a Mixer",
    "my_multiply_adds",
    reference=_multiply_adds,
    cases=_sizes,
    returns="count",
    mistakes=[
        Mistake(
            "Every weight is counted once. Products over a table use their weights again and again: channel mixing and "
            "the stem for each token, token mixing for each channel.",
            _work(token=_once, channel=_once, stem=_once),
        ),
        Mistake(
            "Token mixing is counted for one channel. Its product is (DS, S) times (S, C): all C columns.",
            _work(token=_once),
        ),
        Mistake(
            "Token mixing is counted once for each token. Its weights are used once for each channel.",
            _work(token=lambda S, C: S),
        ),
        Mistake(
            "Channel mixing is counted for one token. Its product is (S, C) times (C, DC): all S rows.",
            _work(channel=_once),
        ),
        Mistake("The stem is counted for one token. All S patches pass through it.", _work(stem=_once)),
        Mistake("The head comes after the mean over tokens: it sees one row.", _work(head=lambda S, C: S)),
        Mistake(
            "Multiplications and additions are counted apart here. A multiply-add is one of each together.",
            _work(factor=2),
        ),
        Mistake("There are L blocks, and each does its own work.", _work(blocks=1)),
        Mistake(
            "Each mixing has two products, one into the hidden layer and one back.",
            lambda S, C, DS, DC, L, P, K, in_channels: (
                S * P * P * in_channels * C + C * K + L * (S * DS * C + S * C * DC)
            ),
        ),
    ],
)
