"""Recipes: read, changed, written, and refused in a sentence."""

import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymixer.data import load_dataset
from tinymixer.errors import ConfigError
from tinymixer.models import LinearMixerConfig, MlpMixer, register_model, registry
from tinymixer.models.image_config import PatchConfig
from tinymixer.options import option
from tinymixer.training import Recipe, load_recipe, recipe_fields, recipe_names

DIGITS = load_recipe("digits")


def test_the_package_has_its_recipes():
    assert recipe_names() == [
        *("cifar10-15min", "cifar10-1hour", "cifar10-best", "cifar10-fast", "cifar10-nano", "cifar10-tiny", "cifar100"),
        *("digits", "digits-linear", "fashion-mnist", "fine-tune", "photos"),
    ]
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description
    nano = load_recipe("cifar10-nano").model
    assert (nano.patch_size, nano.hidden_dim, nano.tokens_mlp_dim, nano.channels_mlp_dim) == (4, 128, 64, 512)
    assert nano.parameter_count == 1_132_170


def test_every_field_has_a_help_text_a_kind_and_a_fitting_default():
    for name, field in recipe_fields().items():
        assert name == field.qualified == f"{field.section}.{field.name}"
        assert field.help
        assert type(field.default) is field.kind
        assert not field.choices or field.default in field.choices


@pytest.mark.parametrize("name", recipe_names())
def test_toml_text_gives_the_same_recipe_back(name, tmp_path):
    recipe = load_recipe(name)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    (tmp_path / "config.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "config.toml") == recipe


def test_a_recipe_of_the_users_own_is_named_after_its_file(tmp_path):
    (tmp_path / "mine.toml").write_text("[training]\nepochs = 4\n[optimizer]\nlearning_rate = 1\n")
    recipe = load_recipe(tmp_path / "mine.toml")
    assert (recipe.name, recipe.training.epochs, recipe.optimizer.learning_rate) == ("mine", 4, 1.0)


def test_overrides_are_read_as_the_kind_of_their_field():
    recipe = load_recipe("digits").with_overrides(
        {
            "epochs": "5",
            "learning-rate": "1e-2",
            "flip": "yes",
            "decay": "all",
            "seed": None,
            "hidden_dim": 16,
            "dropout": 0,
        }
    )
    assert recipe.training.epochs == 5
    assert recipe.optimizer.learning_rate == 0.01
    assert recipe.augmentation.flip is True
    assert recipe.optimizer.decay == "all"
    assert recipe.training.seed == load_recipe("digits").training.seed
    assert (recipe.model.hidden_dim, recipe.model.dropout) == (16, 0.0)


def test_differences_name_the_fields():
    recipe = load_recipe("digits")
    epochs = recipe.training.epochs
    assert recipe.differences(recipe.with_overrides({"epochs": 7, "flip": True})) == {
        "training.epochs": (epochs, 7),
        "augmentation.flip": (False, True),
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epoch": 3}, "unknown recipe field 'epoch'. Did you mean 'epochs'?"),
        ({"qqq": 3}, "unknown recipe field 'qqq'."),
        ({"epochs": "five"}, "'epochs' expects a whole number, got 'five'"),
        ({"epochs": 2.5}, "'epochs' expects a whole number, got 2.5"),
        ({"epochs": True}, "'epochs' expects a whole number, got True"),
        ({"epochs": 0}, "'epochs' expects 1 or more, got 0"),
        ({"flip": "perhaps"}, "'flip' expects true or false, got 'perhaps'"),
        ({"momentum": 1}, "'momentum' expects less than 1, got 1.0"),
        ({"learning_rate": "nan"}, "'learning_rate' expects a finite number, got nan"),
        ({"optimizer": "adam"}, "'optimizer' expects one of adamw, muon, sgd, got 'adam'. Did you mean 'adamw'?"),
        ({"patch_size": 3, "image_size": 8}, "patch_size 3 does not divide image_size 8"),
        ({"warmup_epochs": 1000}, "'warmup_epochs' (1000) is more than"),
        ({"final_learning_rate": 1.0}, "is above 'learning_rate'"),
        ({"micro_batches": 1000}, "'micro_batches' (1000) cannot exceed 'batch_size'"),
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0}, "'nesterov' needs a 'momentum' above 0"),
        ({"cutout": 9, "image_size": 8}, "cutout=9 is larger than the images of 8 x 8 pixels"),
        ({"crop_padding": 8, "image_size": 8}, "crop_padding=8 is too large for images of 8 x 8 pixels"),
    ],
)
def test_overrides_that_cannot_work_are_refused_in_a_sentence(overrides, message):
    with pytest.raises(ConfigError) as caught:
        load_recipe("digits").with_overrides(overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[modl]\npatch_size = 4", "unknown section [modl] in my.toml"),
        ("[modl]\npatch_size = 4", "Did you mean 'model'?"),
        ("[training]\nepoch = 3", "unknown recipe field 'epoch' in [training] of my.toml. Did you mean 'epochs'?"),
        ("[model]\nepochs = 3", "'epochs' in my.toml belongs in the section [training], not [model]"),
        ("epochs = 3", "'epochs' in my.toml belongs in the section [training]"),
        ('[training]\nepochs = "3"', "'epochs' expects a whole number, got '3'"),
        ("[model]\nhidden_dim = [3]", "'hidden_dim' expects a whole number, got [3]"),
        ("model = 3", "write [model] and its fields below it"),
        ("name = 3", "'name' expects text, got 3"),
        ("[training", "my.toml is not valid TOML"),
    ],
)
def test_files_that_cannot_work_are_refused_in_a_sentence(text, message):
    with pytest.raises(ConfigError) as caught:
        Recipe.from_toml(text, "my.toml")
    assert message in str(caught.value)


def test_an_unknown_recipe_suggests_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'cifar10-nano'"):
        load_recipe("cifar10-nan")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "binary.toml")
    with pytest.raises(ConfigError, match="there is no recipe"):
        load_recipe(tmp_path)


@settings(deadline=None)
@given(
    st.text(max_size=12), st.one_of(st.text(max_size=5), st.integers(), st.floats(), st.booleans(), st.lists(st.none()))
)
def test_whatever_is_given_the_answer_is_a_recipe_or_a_sentence(name, value):
    for key in (name, "epochs", "learning_rate", "flip", "gelu", "dropout", "dataset"):
        with contextlib.suppress(ConfigError):
            assert isinstance(DIGITS.with_overrides({key: value}), Recipe)


class TestModels:
    def test_a_field_goes_by_its_qualified_name_too(self):
        recipe = load_recipe("digits").with_overrides({"model.hidden_dim": 16, "optimizer.momentum": "0.5"})
        assert (recipe.model.hidden_dim, recipe.optimizer.momentum) == (16, 0.5)

    def test_a_short_name_that_two_sections_have_is_refused(self):
        @dataclass(frozen=True)
        class WithMomentum(PatchConfig):
            momentum: float = option(0.1, "Of running statistics.")

        class Net(MlpMixer):
            pass

        register_model("with_momentum", WithMomentum)(Net)
        try:
            with pytest.raises(
                ConfigError, match=r"'momentum' could be model.momentum or optimizer.momentum: write which"
            ):
                load_recipe("digits").with_overrides({"momentum": 0.5})
            tables = {"model": {"architecture": "with_momentum", "momentum": 0.3}, "optimizer": {"momentum": 0.8}}
            recipe = Recipe.from_dict(tables)
            assert (recipe.model.momentum, recipe.optimizer.momentum) == (0.3, 0.8)
            assert recipe.values()["model.momentum"] == 0.3
        finally:
            registry._MODELS.pop("with_momentum")

    def test_another_architecture_keeps_what_it_has_too(self):
        recipe = load_recipe("digits").with_overrides({"architecture": "linear_mixer", "hidden_dim": 60})
        assert type(recipe.model) is LinearMixerConfig
        assert (recipe.model.hidden_dim, recipe.model.num_blocks, recipe.model.patch_size) == (60, 4, 2)
        with pytest.raises(ConfigError, match=r"'tokens_mlp_dim' .* is not a field of linear_mixer: mlp_mixer has it"):
            load_recipe("digits").with_overrides({"architecture": "linear_mixer", "tokens_mlp_dim": 8})
        with pytest.raises(ConfigError, match=r"unknown architecture 'mlp_mixr'.*Did you mean 'mlp_mixer'"):
            load_recipe("digits").with_overrides({"architecture": "mlp_mixr"})

    def test_what_the_data_says_may_be_left_out(self):
        recipe, digits = load_recipe("digits"), load_dataset("digits")
        assert recipe.from_data == ("image_size", "in_channels", "num_classes")
        assert "image_size" not in recipe.to_toml()
        fitted = recipe.fitted_to(digits)
        assert (fitted.model.image_size, fitted.model.in_channels, fitted.model.num_classes) == (8, 1, 10)
        assert Recipe.from_toml(fitted.to_toml()) == fitted
        with pytest.raises(ConfigError, match="leave num_classes out of the recipe, and it is taken from the data"):
            recipe.with_overrides({"num_classes": 7}).fitted_to(digits)

    def test_parameter_groups_are_written_and_read(self):
        text = '[[groups]]\npattern = "stem.*"\nfrozen = true\n'
        text += '[[groups]]\npattern = "head.*"\nlearning_rate_factor = 0.1\n'
        recipe = Recipe.from_toml(text)
        assert [group.pattern for group in recipe.groups] == ["stem.*", "head.*"]
        assert Recipe.from_toml(recipe.to_toml()) == recipe
        with pytest.raises(ConfigError, match="no field 'patern'"):
            Recipe.from_toml('[[groups]]\npatern = "stem.*"')


def test_a_published_size_is_the_paper_s_network_whatever_the_recipe_had():
    recipe = load_recipe("cifar10-15min").with_overrides({"architecture": "S/16", "dropout": 0.1})
    assert recipe.model.variants == {}
    assert recipe.model.dropout == 0.1
    assert recipe.model.hidden_dim == 512
    assert load_recipe("cifar10-15min").with_overrides({"architecture": "S/16", "overlap": 2}).model.overlap == 2
