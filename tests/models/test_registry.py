"""Models by name: what is refused, and in which words."""

import pytest

from tinymixer.errors import ConfigError
from tinymixer.models import (
    LinearMixerConfig,
    MixerConfig,
    MlpMixer,
    architecture_of,
    architectures,
    config_class,
    make_model,
    model_class,
    register_model,
    registry,
)

SIZES = {"image_size": 8, "patch_size": 4, "hidden_dim": 8, "num_blocks": 1}


def sized(name, sizes):
    """That model's configuration with those of the sizes that it has."""
    options = config_class(name)
    return options(**{key: value for key, value in sizes.items() if key in options.__dataclass_fields__})


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))


@pytest.mark.parametrize("name", architectures())
def test_every_model_is_built_by_its_name_and_answers_to_it(name):
    model = make_model(name, sized(name, SIZES), dtype="float64", seed=1)
    assert type(model) is model_class(name)
    assert architecture_of(model) == name
    assert model.parameters.dtype == "float64"
    assert model.parameters.count == model.config.parameter_count


def test_an_unknown_architecture_suggests_the_nearest():
    expected = (
        r"unknown architecture 'mlp_mixr': expected one of .*linear_mixer, mlp_mixer.* Did you mean 'mlp_mixer'\?"
    )
    for attempt in (model_class, config_class, lambda name: make_model(name, MixerConfig())):
        with pytest.raises(ConfigError, match=expected):
            attempt("mlp_mixr")


def test_the_configuration_of_another_model_is_refused():
    with pytest.raises(ConfigError, match="'mlp_mixer' is built from a MixerConfig, got LinearMixerConfig"):
        make_model("mlp_mixer", LinearMixerConfig())


def test_a_name_is_given_once():
    with pytest.raises(ConfigError, match=r"there is a model 'mlp_mixer' already \(.*MlpMixer\): choose another name"):

        @register_model("mlp_mixer", MixerConfig)
        class Mine(MlpMixer):
            pass

    with pytest.raises(ConfigError, match="MlpMixer is registered as 'mlp_mixer' already: a model has one name"):
        register_model("my_mixer", MixerConfig)(MlpMixer)
    for name in ("", "module:Class"):
        with pytest.raises(ConfigError, match="cannot name a model"):
            register_model(name, MixerConfig)
    assert model_class("mlp_mixer") is MlpMixer


def test_a_cell_that_registers_its_model_may_run_twice():
    def cell():
        @register_model("mine", MixerConfig)
        class Mine(MlpMixer):
            pass

        return Mine

    cell()
    second = cell()
    assert model_class("mine") is second
    assert architecture_of(second(MixerConfig(**SIZES))) == "mine"


def test_a_class_that_is_not_registered_is_written_down_with_its_module():
    class Mine(MlpMixer):
        pass

    name = architecture_of(Mine(MixerConfig(**SIZES)))
    assert name.startswith(f"{__name__}:")
    assert name.endswith("Mine")
