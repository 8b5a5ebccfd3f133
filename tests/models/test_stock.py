"""A changed model is told from the stock one, whatever was changed."""

import threading
import time

import numpy as np
import pytest

from tests.strict_arrays import STRICT
from tinymixer import ops
from tinymixer.backend import Backend
from tinymixer.layers import LayerNorm, Linear, MixerBlock, Mlp
from tinymixer.models import (
    LinearMixer,
    LinearMixerConfig,
    MixerConfig,
    MlpMixer,
    architectures,
    config_class,
    difference_from_stock,
    make_model,
)

CONFIG = MixerConfig(
    image_size=8, patch_size=4, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7, num_blocks=2, drop_path=0.2
)


def test_stock_models_are_stock():
    for name in architectures():
        for keywords in ({}, {"dtype": "float64", "seed": 3}, {"seed": None}, {"backend": STRICT}):
            sizes = {"image_size": 8, "hidden_dim": 8, "num_blocks": 2, "width": 4}
            options = config_class(name)
            fields = {key: value for key, value in sizes.items() if key in options.__dataclass_fields__}
            assert difference_from_stock(make_model(name, options(**fields), **keywords)) is None
    for tokens in ("linear", "pool", "attention", "none"):
        assert difference_from_stock(MlpMixer(MixerConfig(image_size=8, tokens=tokens))) is None


def test_training_a_model_does_not_change_what_it_is():
    model = MlpMixer(CONFIG)
    logits, cache = model.forward(np.ones((2, 8, 8, 3), "float32"))
    model.backward(logits, cache)
    model.parameters.values[...] += 1
    assert difference_from_stock(model) is None


class OwnForward(MlpMixer):
    def forward(self, images, train=False, rng=None):
        return super().forward(-images, train, rng)


class OwnAttention(Linear):
    pass


def relu(x):
    return np.maximum(x, 0), x


def replace_gelu(model):
    model.blocks[0].channel_mixing._gelu_forward = relu


def other_form_of_gelu(model):
    model.blocks[1].token_mixing._gelu_backward = ops.gelu_erf_backward


def append_block(model):
    model.blocks.append(MixerBlock(CONFIG.block_sizes))


def remove_block(model):
    del model.blocks[0]


def exchange_blocks(model):
    model.blocks.reverse()


def change_rate(model):
    model.blocks[0].drop_path = 0.5


def change_eps(model):
    model.pre_head_layer_norm.eps = 1e-3


def replace_layer(model):
    model.head = OwnAttention(6, 10)


def own_parameters(model):
    model.head = Linear(6, 10)


def leave_out(model):
    model.pre_head_layer_norm = None


def forget(model):
    del model.blocks[1].channel_norm


def patch_the_object(model):
    model.forward = lambda images, train=False, rng=None: (images, None)


def patch_a_part(model):
    stem = model.stem
    stem.forward = lambda x, train=False, rng=None: Linear.forward(stem, -x)


def note(model):
    model.note = "x"


def odd_attribute(model):
    class Odd:
        def __eq__(self, other):
            raise RuntimeError("compare me not")

        __hash__ = None

        def __repr__(self):
            raise RuntimeError("print me not")

    model.blocks[0].drop_path = Odd()
    model.lock = threading.Lock()


def array_attribute(model):
    model.blocks[0].drop_path = np.zeros(3)


def other_sizes(model):
    model.config = MixerConfig(**CONFIG.to_dict() | {"hidden_dim": 8})


def no_config(model):
    model.config = None


def other_parameters(model):
    model.parameters = {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replace_gelu, "blocks[0].channel_mixing._gelu_forward is relu, not the stock model's"),
        (other_form_of_gelu, "blocks[1].token_mixing._gelu_backward is gelu_erf_backward"),
        (append_block, "MlpMixer.blocks has 3 items, the stock model 2"),
        (remove_block, "MlpMixer.blocks has 1 items, the stock model 2"),
        (exchange_blocks, "belong to another layer or model"),
        (change_rate, "MlpMixer.blocks[0].drop_path is 0.5, where the stock model has 0.0"),
        (change_eps, "MlpMixer.pre_head_layer_norm.eps is 0.001, where the stock model has 1e-06"),
        (replace_layer, "MlpMixer.head is a OwnAttention, where the stock model has a Linear"),
        (own_parameters, "MlpMixer.head.parameters belong to another layer or model"),
        (leave_out, "MlpMixer.pre_head_layer_norm is None, where the stock model has a LayerNorm"),
        (forget, "MlpMixer.blocks[1].channel_norm is missing"),
        (patch_the_object, "MlpMixer.forward is an addition to the stock model"),
        (patch_a_part, "MlpMixer.stem.forward is an addition"),
        (note, "MlpMixer.note is an addition to the stock model"),
        (odd_attribute, "blocks[0].drop_path is a Odd, where the stock model has 0.0"),
        (array_attribute, "drop_path is a ndarray"),
        (other_sizes, "have other names or shapes"),
        (no_config, "the configuration of MlpMixer is a NoneType, not a MixerConfig"),
        (other_parameters, "MlpMixer keeps its parameters in another way"),
    ],
)
def test_a_change_is_found_and_named(change, words):
    model = MlpMixer(CONFIG)
    change(model)
    assert words in difference_from_stock(model)


def test_a_subclass_and_a_stranger_are_not_stock():
    expected = f"is a class of its own, not one of {', '.join(architectures())}"
    assert difference_from_stock(OwnForward(CONFIG)) == f"OwnForward {expected}"
    assert difference_from_stock(LayerNorm(3)) == f"LayerNorm {expected}"
    assert difference_from_stock(None) == f"NoneType {expected}"


def test_operations_of_ones_own_are_found():
    backend = Backend("mine", np, type("MyOperations", (), {name: getattr(ops, name) for name in ops.__all__}))
    assert difference_from_stock(MlpMixer(CONFIG, backend=backend)) == (
        "MlpMixer computes with operations of its own, not with tinymixer.ops"
    )


def test_a_method_replaced_in_a_class_is_found(monkeypatch):
    model = MlpMixer(CONFIG)
    monkeypatch.setattr(Mlp, "forward", lambda self, x, train=False, rng=None: (x, None))
    assert difference_from_stock(model) == "Mlp.forward was replaced"
    monkeypatch.setattr(Mlp, "forward", relu)
    assert difference_from_stock(model) == "Mlp.forward was replaced"
    assert difference_from_stock(LinearMixer(LinearMixerConfig(image_size=8))) is None


def test_a_large_model_is_compared_at_once():
    config = MixerConfig(
        image_size=224, patch_size=16, hidden_dim=768, tokens_mlp_dim=384, channels_mlp_dim=3072, num_blocks=12
    )
    model = MlpMixer(config, seed=None)
    started = time.process_time()
    assert difference_from_stock(model) is None
    assert time.process_time() - started < 1.0  # 10 ms; drawing its 59.9 million weights takes seconds
