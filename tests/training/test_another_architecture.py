"""--architecture X: the recipe's model is replaced by an X with about as many parameters."""

import math

import pytest

from tests.training.small_runs import Recorder, small_dataset
from tinymixer.data import load_dataset
from tinymixer.errors import ConfigError
from tinymixer.models import architectures, make_model, preset
from tinymixer.optim import Muon
from tinymixer.parallel.ranks import ONE_RANK
from tinymixer.training.build import make_optimizer
from tinymixer.training.prepare import prepare
from tinymixer.training.recipe import load_recipe, recipe_names

CONVOLUTIONAL = ("resnet", "bit", "nf_resnet")


def given(recipe, architecture, **fields):
    return load_recipe(recipe).with_overrides({"architecture": architecture} | fields)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "fine-tune"])
def test_every_architecture_has_about_the_recipe_s_number_of_parameters(name):
    """In a network of 18,458 parameters (digits-linear) one channel more is a third of them."""
    recipe = load_recipe(name)
    data = None if recipe.data.dataset != "digits" else load_dataset("digits")
    for architecture in architectures():
        other = given(name, architecture)
        assert (other.from_data, bool(other.size_note)) == (recipe.from_data, architecture != recipe.architecture)
        before, after = ((each.fitted_to(data) if data else each).model.parameter_count for each in (recipe, other))
        most = 1.4 if name == "digits-linear" and architecture in CONVOLUTIONAL else 1.15
        assert 1 / most < after / before < most, architecture


@pytest.mark.parametrize("size", ["nano", "best"])
@pytest.mark.parametrize(("architecture", "name"), list(zip(CONVOLUTIONAL, ("R18", "BiT", "NF"), strict=True)))
def test_the_recipes_that_presets_are_made_for_give_the_presets(architecture, name, size):
    recipe = given(f"cifar10-{size}", architecture)
    assert recipe.model == preset(f"{name}-{size}")
    count = load_recipe(f"cifar10-{size}").model.parameter_count
    assert recipe.size_note == (
        f"{architecture} gets width {recipe.model.width}{', groups 4' if architecture == 'bit' else ''}: with "
        f"{recipe.model.parameter_count:,} parameters it is nearest in size to the recipe's mlp_mixer, which has "
        f"{count:,} (--width sets another)"
    )


def test_what_is_given_stays():
    bit = given("cifar10-15min", "bit", groups=3, depths="1-1-1")
    assert (bit.model.groups, bit.model.depths, bit.model.width % 3) == (3, "1-1-1", 0)
    assert bit.model.parameter_count == pytest.approx(263_114, rel=0.15)
    assert (given("cifar10-best", "resnet", width=7).model.width, given("photos", "bit").model.image_size) == (7, 64)
    vit = given("cifar10-nano", "vit", heads=6, channels_mlp_dim=100, image_size=64)
    assert (vit.model.heads, vit.model.channels_mlp_dim, vit.model.hidden_dim % 6) == (6, 100, 0)
    as_large = load_recipe("cifar10-nano").with_overrides({"image_size": 64}).model.parameter_count
    assert vit.model.parameter_count == pytest.approx(as_large, rel=0.05)
    for fields, words in (
        ({"tokens_mlp_dim": 8}, "'tokens_mlp_dim' in the recipe is not a field of resnet: mlp_mixer has it"),
        ({"depths": "x"}, "'depths' expects whole numbers above 0"),
        ({"width": "wide"}, "'width' expects a whole number"),
    ):
        with pytest.raises(ConfigError, match=words):
            given("digits", "resnet", **fields)
    with pytest.raises(ConfigError, match="1000 heads do not divide hidden_dim"):
        given("digits", "vit", heads=1000)


def test_no_width_is_nearer():
    chosen = given("cifar10-15min", "nf_resnet").model
    counts = {width: given("cifar10-15min", "nf_resnet", width=width).model.parameter_count for width in range(1, 20)}
    assert min(counts, key=lambda width: abs(math.log(counts[width] / 263_114))) == chosen.width


def test_sizes_that_come_from_weights_are_not_chosen():
    assert given("fine-tune", "vit").size_note == ""
    assert given("digits", "vit", sizes_from="weights").model.hidden_dim == 64
    assert given("cifar10-nano", "R18-best").size_note == ""


def test_the_run_says_which_size_it_chose():
    heard = Recorder()
    recipe = given("digits", "resnet")
    prepare(recipe.with_overrides({"batch_size": 8}), small_dataset(), None, None, None, ONE_RANK, heard.on_note)
    assert heard.notes == [recipe.size_note]
    assert recipe.with_overrides({"width": 8}).size_note == ""


@pytest.mark.parametrize("architecture", architectures())
def test_muon_has_matrices_in_every_architecture(architecture):
    """Most recipes take Muon: a model without matrices for it could not be trained by them."""
    recipe = given("digits", architecture).fitted_to(load_dataset("digits"))
    optimizer = make_optimizer(recipe, make_model(recipe.architecture, recipe.model).parameters)
    assert isinstance(optimizer, Muon)
