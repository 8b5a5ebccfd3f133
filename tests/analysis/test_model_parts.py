"""What the pictures of models show, part by part: names, shapes, and what their blocks are made of."""

from dataclasses import dataclass, replace

import pytest

from tinymixer.analysis.model_parts import BOTH, CHANNELS, TOKENS, Box, Sum
from tinymixer.analysis.parts_of_models import parts_of
from tinymixer.errors import ConfigError
from tinymixer.layers.chain import Part, Residual
from tinymixer.layers.convolution import Convolution
from tinymixer.models import ConvNet, LinearMixerConfig, MixerConfig, MlpMixer, config_class, make_model, preset
from tinymixer.models.convnet import ConvNetConfig
from tinymixer.models.image_config import PatchConfig
from tinymixer.models.resnet import ResNetConfig
from tinymixer.models.summary import layer_rows

MIXER = MixerConfig(image_size=8, patch_size=2, hidden_dim=4, num_blocks=3, tokens_mlp_dim=5, channels_mlp_dim=6)


def names(parts):
    """The parts of a block on one line each; a sum as its shortcut (a list) and its branch."""
    return [
        ([box.name for box in part.shortcut], [box.name for box in part.branch]) if isinstance(part, Sum) else part.name
        for part in parts
    ]


def chain(config):
    return [(box.name, box.shape) for box in parts_of(config).chain]


def test_a_vision_transformer():
    config = preset("ViT-nano")
    assert chain(config) == [
        ("image", "32 x 32 x 3"), ("patches", "64 x 48"), ("stem", "64 x 128"), ("class token", "65 x 128"),
        ("position embeddings", ""), ("a block, 6 times", ""), ("LayerNorm", ""), ("class token", "128"),
        ("head", "10"),
    ]  # fmt: skip
    (block,) = parts_of(config).blocks
    assert names(block.parts) == [([], ["LayerNorm", "self-attention"]), ([], ["LayerNorm", "channel mixing"])]
    assert [box.detail for box in block.boxes if box.mixes] == ["4 heads", "an MLP, 448 hidden"]
    by_mean = [name for name, _ in chain(replace(config, pool="mean"))]
    assert "class token" not in by_mean
    assert by_mean[-2:] == ["mean", "head"]


@pytest.mark.parametrize(
    ("changes", "token_mixing"),
    [
        ({}, Box("token\nmixing", "an MLP, 5 hidden", mixes=TOKENS)),
        ({"tokens": "linear"}, Box("token\nLinear", "16 x 16", mixes=TOKENS)),
        ({"tokens": "pool"}, Box("token\npooling", "mean of 3 x 3 patches\nminus the patch", mixes=TOKENS)),
        ({"tokens": "attention", "heads": 1}, Box("self-\nattention", "1 head", mixes=TOKENS)),
        ({"untied_groups": 4}, Box("untied\ntoken\nmixing", "an MLP for each channel\n5 hidden", mixes=TOKENS)),
        (
            {"grouped_channels": 2},
            Box("grouped\ntoken\nmixing", "an MLP that sees 2 channels at once\n5 hidden", mixes=BOTH),
        ),
        ({"tokens": "none"}, None),
    ],
)
def test_the_token_mixings_of_a_mixer(changes, token_mixing):
    (block,) = parts_of(replace(MIXER, **changes)).blocks
    channel_mixing = Sum((Box("LayerNorm"), Box("channel\nmixing", "an MLP, 6 hidden", mixes=CHANNELS)))
    expected = [Sum((Box("LayerNorm"), token_mixing)), channel_mixing] if token_mixing else [channel_mixing]
    assert list(block.parts) == expected


def test_the_variants_of_a_mixer_are_named():
    words = parts_of(replace(MIXER, overlap=1, gated=True, layer_scale=0.1, whitened_stem=True)).in_words
    for expected in (
        "overlapping patches, 4 x 4 pixels, 2 apart, gives 16 x 48",
        "a Linear, whitened and frozen",
        "gated channel mixing (an MLP with a gate, 6 hidden), LayerScale",
    ):
        assert expected in words
    assert "LayerNorm" not in parts_of(LinearMixerConfig(image_size=8)).in_words


def test_the_blocks_of_the_convolutional_networks_in_their_order():
    blocks = {name: parts_of(preset(f"{name}-nano")).blocks for name in ("R18", "BiT", "NF")}
    assert all(
        [block.title for block in kinds] == ["first block of stages 2 to 4", "all other blocks"]
        for kinds in blocks.values()
    )
    after = ["3 x 3 convolution", "batch norm, ReLU", "3 x 3 convolution", "batch norm"]
    assert [names(block.parts) for block in blocks["R18"]] == [
        [(["1 x 1 convolution", "batch norm"], after), "ReLU"],
        [([], after), "ReLU"],
    ]
    norm, convolution = "group norm, ReLU", "3 x 3 convolution"
    assert [names(block.parts) for block in blocks["BiT"]] == [
        [norm, (["1 x 1 convolution"], [convolution, norm, convolution])],
        [([], [norm, convolution, norm, convolution])],
    ]
    without_norm = blocks["NF"][1].parts[0]
    assert names([without_norm]) == [([], ["scaled ReLU", convolution, "scaled ReLU", convolution])]
    assert without_norm.weight == "0.2"
    assert without_norm.branch[1].detail == "scaled standardised weights"
    assert [box.detail for box in blocks["R18"][0].boxes][:3] == ["stride 2", "", ""]


def test_a_bottleneck_says_where_it_is_narrow_and_where_it_strides():
    parts = parts_of(preset("ResNet-50"))
    first, other = parts.blocks
    assert (first.title, other.title) == ("first block of every stage", "all other blocks")
    assert [box.detail for box in first.boxes if "convolution" in box.name] == [
        "C/4 channels", "stride 2 (1 in stage 1)\nC/4 channels", "", "stride 2 (1 in stage 1)",
    ]  # fmt: skip
    assert parts.note == "C: the channels of the stage."
    (only,) = parts_of(ResNetConfig(width=4, depths="1-1-1-1-1", block="bottleneck")).blocks
    assert (only.title, only.boxes[2].detail) == ("every block", "stride 2 (1 in stage 1)\nC/4 channels")
    assert chain(preset("ResNet-50"))[1:6] == [
        ("stem", "56 x 56 x 64"), ("stage 1: 3 blocks", "56 x 56 x 256"), ("stage 2: 4 blocks", "28 x 28 x 512"),
        ("stage 3: 6 blocks", "14 x 14 x 1024"), ("stage 4: 3 blocks", "7 x 7 x 2048"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["resnet", "bit", "nf_resnet"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_the_shapes_are_those_that_the_model_computes(name, stem):
    config = config_class(name)(image_size=19, width=4, depths="1-2-1", stem=stem, num_classes=3)
    computed = {}
    for row in layer_rows(make_model(name, config, seed=None)):
        computed[".".join(row.name.split(".")[:2])] = " x ".join(map(str, row.output))  # the last layer of each stage
    shown = dict(chain(config))
    stages = ("stage 1: 1 block", "stage 2: 2 blocks", "stage 3: 1 block")
    assert [shown[stage] for stage in stages] == [computed[f"stages.{i}"] for i in range(3)]
    assert shown["head"] == computed["head"] == "3"


class HaloAttention(Convolution):
    """A layer that the pictures have no entry for."""

    @staticmethod
    def specification(inputs, outputs, heads=1):
        return Convolution.specification(inputs, outputs)


@dataclass(frozen=True)
class OwnConfig(ResNetConfig):
    """A network whose last stage has another layer in its blocks, and other blocks than the stages before."""

    noun = "a HaloNet"

    def parts(self):
        parts = dict(super().parts())
        for block in self.blocks():
            if block.place.startswith("1."):
                branch = {"attention": Part(HaloAttention, block.inputs, block.outputs, heads=2)}
                parts[f"stages.{block.place}"] = Part(Residual, branch, {})
        return parts


class HaloNet(ConvNet):
    pass


def test_a_new_network_of_the_same_chain_is_drawn_too():
    model = HaloNet.__new__(HaloNet)
    model.config = OwnConfig(width=4, depths="2-2")
    parts = parts_of(model)
    assert (parts.name, [block.title for block in parts.blocks]) == (
        "HaloNet",
        ["other blocks of stage 1", "other blocks of stage 2"],
    )
    attention = parts.blocks[1].boxes[0]
    assert (attention.name, attention.detail, attention.mixes) == ("halo attention", "2 heads", TOKENS)


class OwnMixer(MlpMixer):
    """A user's own: its forward may do anything."""


@dataclass(frozen=True)
class OwnMixerConfig(MixerConfig):
    pass


class OtherForward(HaloNet):
    def forward(self, images, train=False, rng=None):
        return super().forward(images[:, ::-1], train, rng)


def test_a_model_of_the_users_own_is_refused_in_a_sentence():
    backwards = OtherForward.__new__(OtherForward)
    backwards.config = OwnConfig(width=4, depths="2-2")
    for unknown in (OwnMixer(MIXER), OwnMixerConfig(), PatchConfig(), backwards, "a Mixer", None):
        with pytest.raises(ConfigError, match=f"there is no picture of {type(unknown).__name__}:"):
            parts_of(unknown)
    with pytest.raises(ConfigError, match="its parts are not named by their blocks"):
        parts_of(ConvNetConfig())
