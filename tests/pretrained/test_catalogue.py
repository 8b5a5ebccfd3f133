"""The published weights by name: what the manifests say, and the sentences for names that cannot be used."""

import pytest

from tinymixer import MixerConfig
from tinymixer.errors import CheckpointError
from tinymixer.pretrained.catalogue import CATALOGUE, KINDS, entries, find, path_of

SIZES = {"S": (512, 8, 256), "B": (768, 12, 384), "L": (1024, 24, 512)}  # hidden_dim, num_blocks, tokens_mlp_dim
READABLE = [entry for entry in entries().values() if not entry.refused]


def test_all_published_mixers_are_listed():
    assert entries() == CATALOGUE
    assert [name for name in CATALOGUE if name.startswith("mixer-")] == [
        *("mixer-s32-gsam", "mixer-s16-gsam", "mixer-s8-gsam", "mixer-b32-gsam", "mixer-b16-gsam"),
        *("mixer-b16-imagenet1k", "mixer-l16-imagenet1k", "mixer-b16-imagenet21k", "mixer-l16-imagenet21k"),
        *("mixer-b16-sam", "mixer-b32-sam"),
    ]
    assert CATALOGUE["mixer-l16-imagenet21k"].url == (
        "https://storage.googleapis.com/mixer_models/imagenet21k/Mixer-L_16.npz"
    )
    assert CATALOGUE["mixer_b16_224.miil_in21k_ft_in1k"].url == (
        "https://huggingface.co/timm/mixer_b16_224.miil_in21k_ft_in1k/resolve/main/model.safetensors"
    )
    tops = {entry.name: entry.top1 for entry in READABLE if entry.kind == "timm-safetensors" and entry.top1}
    assert list(tops.values()) == [76.6, 72.1, 82.3]


@pytest.mark.parametrize("entry", READABLE, ids=lambda entry: entry.name)
def test_a_size_is_that_of_the_variants_parameters(entry):
    hidden, blocks, tokens = SIZES[entry.variant[0]]
    config = MixerConfig(
        image_size=224,
        patch_size=int(entry.variant[2:]),
        hidden_dim=hidden,
        num_blocks=blocks,
        tokens_mlp_dim=tokens,
        channels_mlp_dim=4 * hidden,
        num_classes=entry.classes,
    )
    assert entry.about_bytes == 4 * config.parameter_count
    assert (entry.gelu, entry.kind) in (("tanh", "authors-npz"), ("erf", "timm-safetensors"))
    assert entry.file.endswith(KINDS[entry.kind])
    assert entry.name in entry.card()
    assert (entry.top1 is None) or entry.top1_source


def test_names_that_cannot_be_used(tmp_path):
    with pytest.raises(CheckpointError, match=r"no published weights 'mixer-b16-imagnet1k'.*mixer-b16-imagenet1k"):
        find("mixer-b16-imagnet1k", tmp_path)
    with pytest.raises(CheckpointError, match=r"gmixer_24_224\.ra3_in1k' is known, but its MLPs are gated"):
        find("gmixer_24_224.ra3_in1k", tmp_path)
    with pytest.raises(CheckpointError, match="not fetched yet: `tinymixer weights fetch mixer-s16-gsam`"):
        find("mixer-s16-gsam", tmp_path)
    path = path_of(entries()["mixer-s16-gsam"], tmp_path)
    path.parent.mkdir()
    path.with_name(f"{path.name}.part").write_bytes(b"12345")
    with pytest.raises(CheckpointError, match=r"not fetched yet \(5 bytes so far\)"):
        find("mixer-s16-gsam", tmp_path)
    path.write_bytes(b"a login page")
    with pytest.raises(CheckpointError, match="has 12 bytes, which mixer-s16-gsam has not"):
        find("mixer-s16-gsam", tmp_path)
