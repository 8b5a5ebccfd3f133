"""MLP-Mixer in JAX: the whole step under one jit, weights and momentum donated, 16-bit products on float32 weights."""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave room for the others; set before JAX starts

import jax
import jax.numpy as jnp

from benchmarks.peers import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from tinymixer import MixerConfig

Weights = dict[str, jax.Array]


def make_step(config: MixerConfig, batch: int, precision: str, device: str) -> Callable[[int], None]:
    weights, patches, labels, logits_of = _setting(config, batch, precision, device)

    def loss_of(weights: Weights, patches: jax.Array, labels: jax.Array) -> jax.Array:
        log_probabilities = jax.nn.log_softmax(logits_of(weights, patches))  # (B, K)
        return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))

    def step(weights: Weights, velocity: Weights, patches: jax.Array, labels: jax.Array) -> tuple[Weights, Weights]:
        gradients = jax.grad(loss_of)(weights, patches, labels)
        gradients = jax.tree.map(lambda g, w: g + WEIGHT_DECAY * w, gradients, weights)
        velocity = jax.tree.map(lambda m, g: MOMENTUM * m + g, velocity, gradients)
        weights = jax.tree.map(lambda w, g, m: w - LEARNING_RATE * (g + MOMENTUM * m), weights, gradients, velocity)
        return weights, velocity

    step = jax.jit(step, donate_argnums=(0, 1))
    state = [weights, jax.tree.map(jnp.zeros_like, weights)]

    def run(steps: int) -> None:
        for _ in range(steps):
            state[:] = step(*state, patches, labels)
        jax.block_until_ready(state)

    return run


def make_forward(config: MixerConfig, batch: int, precision: str, device: str) -> Callable[[int], None]:
    weights, patches, _, logits_of = _setting(config, batch, precision, device)
    forward = jax.jit(logits_of)

    def run(steps: int) -> None:
        for _ in range(steps):
            logits = forward(weights, patches)
        logits.block_until_ready()

    return run


def _setting(config: MixerConfig, batch: int, precision: str, device: str) -> tuple[Weights, Any, Any, Any]:
    kind = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}.get(precision, jnp.float32)
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "default")
    if precision == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")
    where = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    keys = iter(jax.random.split(jax.random.key(0), 8 * config.num_blocks + 8))
    S, C, DS, DC = config.tokens, config.hidden_dim, config.tokens_mlp_dim, config.channels_mlp_dim

    def linear(name: str, inputs: int, outputs: int) -> Weights:
        weight = jax.random.normal(next(keys), (inputs, outputs)) * inputs**-0.5
        return {f"{name}.weight": weight, f"{name}.bias": jnp.zeros(outputs)}

    def norm(name: str) -> Weights:
        return {f"{name}.scale": jnp.ones(C), f"{name}.bias": jnp.zeros(C)}

    weights = linear("stem", config.patch_features, C) | norm("norm") | linear("head", C, config.num_classes)
    for i in range(config.num_blocks):
        weights |= norm(f"{i}.token_norm") | linear(f"{i}.token1", S, DS) | linear(f"{i}.token2", DS, S)
        weights |= norm(f"{i}.channel_norm") | linear(f"{i}.channel1", C, DC) | linear(f"{i}.channel2", DC, C)
    patches = jax.random.normal(next(keys), (batch, S, config.patch_features)).astype(kind)  # (B, S, P*P*colours)
    labels = jax.random.randint(next(keys), (batch,), 0, config.num_classes)

    def logits_of(weights: Weights, patches: jax.Array) -> jax.Array:
        def apply(name: str, x: jax.Array) -> jax.Array:
            return x @ weights[f"{name}.weight"].astype(kind) + weights[f"{name}.bias"].astype(kind)

        def normalise(name: str, x: jax.Array) -> jax.Array:
            wide = x.astype(jnp.float32)
            centred = wide - wide.mean(axis=-1, keepdims=True)
            x_hat = centred * jax.lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + config.layer_norm_eps)
            return (x_hat * weights[f"{name}.scale"] + weights[f"{name}.bias"]).astype(kind)

        def gelu(x: jax.Array) -> jax.Array:
            return jax.nn.gelu(x, approximate=config.gelu == "tanh")

        x = apply("stem", patches)  # (B, S, C)
        for i in range(config.num_blocks):
            y = normalise(f"{i}.token_norm", x).transpose(0, 2, 1)  # (B, C, S)
            x = x + apply(f"{i}.token2", gelu(apply(f"{i}.token1", y))).transpose(0, 2, 1)
            x = x + apply(f"{i}.channel2", gelu(apply(f"{i}.channel1", normalise(f"{i}.channel_norm", x))))
        features = normalise("norm", x).astype(jnp.float32).mean(axis=1)  # (B, C)
        return features @ weights["head.weight"] + weights["head.bias"]  # (B, K)

    weights, patches, labels = jax.device_put((weights, patches, labels), where)
    return weights, patches, labels, logits_of


def versions() -> str:
    return f"JAX {jax.__version__}"


def reset_peak() -> None:
    """JAX keeps one peak per process, so its first measurement is the one that counts."""


def peak_bytes() -> int | None:
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")
