"""MLP-Mixer in JAX: the whole step under one jit, weights and momentum donated, 16-bit products on float32 weights."""

import os
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave memory to the others; set before JAX starts

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.batch import patches_first_batch
from tinymixer import MixerConfig
from tinymixer.bench.timing import Run
from tinymixer.bench.work import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, first_weights

Weights = dict[str, jax.Array]


def make_step(config: MixerConfig, batch: int, precision: str, device: str) -> Run:
    weights, patches, labels, logits_of = _setting(config, batch, precision, device)

    def loss_of(weights: Weights, patches: jax.Array, labels: jax.Array) -> jax.Array:
        log_probabilities = jax.nn.log_softmax(logits_of(weights, patches))  # (B, K)
        return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))

    def step(weights: Weights, velocity: Weights, patches: jax.Array, labels: jax.Array):
        loss, gradients = jax.value_and_grad(loss_of)(weights, patches, labels)
        gradients = jax.tree.map(lambda g, w: g + WEIGHT_DECAY * w, gradients, weights)
        velocity = jax.tree.map(lambda m, g: MOMENTUM * m + g, velocity, gradients)
        weights = jax.tree.map(lambda w, g, m: w - LEARNING_RATE * (g + MOMENTUM * m), weights, gradients, velocity)
        return weights, velocity, loss

    step = jax.jit(step, donate_argnums=(0, 1))
    state = [weights, jax.tree.map(jnp.zeros_like, weights)]

    def run(steps: int) -> float:
        for _ in range(steps):
            *state[:], loss = step(*state, patches, labels)
        jax.block_until_ready(state)
        return float(loss)

    return run


def make_forward(config: MixerConfig, batch: int, precision: str, device: str) -> Run:
    weights, patches, _, logits_of = _setting(config, batch, precision, device)
    forward = jax.jit(logits_of)

    def run(steps: int) -> np.ndarray:
        # No pass depends on the one before, so the last may finish first: wait for all.
        logits = jax.block_until_ready([forward(weights, patches) for _ in range(steps)])
        return np.asarray(logits[-1].astype(jnp.float32))

    return run


def _setting(config: MixerConfig, batch: int, precision: str, device: str) -> tuple[Weights, Any, Any, Any]:
    kind = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}.get(precision, jnp.float32)
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "default")
    if precision == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")
    where = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    patches, labels = patches_first_batch(config, batch)  # (B, S, P*P*in_channels), (B,)
    weights: Any = first_weights(config)
    for name in weights:
        if "token_mixing.weight" in name:  # our token mixing multiplies from the left
            weights[name] = np.ascontiguousarray(weights[name].T)

    def logits_of(weights: Weights, patches: jax.Array) -> jax.Array:
        def apply(name: str, x: jax.Array, layer: str = "") -> jax.Array:
            return x @ weights[f"{name}.weight{layer}"].astype(kind) + weights[f"{name}.bias{layer}"].astype(kind)

        def normalise(name: str, x: jax.Array) -> jax.Array:
            wide = x.astype(jnp.float32)
            centred = wide - wide.mean(axis=-1, keepdims=True)
            x_hat = centred * jax.lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + config.layer_norm_eps)
            return (x_hat * weights[f"{name}.scale"] + weights[f"{name}.bias"]).astype(kind)

        def mlp(name: str, x: jax.Array) -> jax.Array:
            return apply(name, jax.nn.gelu(apply(name, x, "1"), approximate=config.gelu == "tanh"), "2")

        x = apply("stem", patches)  # (B, S, C)
        for i in range(config.num_blocks):
            y = normalise(f"blocks.{i}.token_norm", x).transpose(0, 2, 1)  # (B, C, S)
            x = x + mlp(f"blocks.{i}.token_mixing", y).transpose(0, 2, 1)
            x = x + mlp(f"blocks.{i}.channel_mixing", normalise(f"blocks.{i}.channel_norm", x))
        features = normalise("pre_head_layer_norm", x).astype(jnp.float32).mean(axis=1)  # (B, C)
        return features @ weights["head.weight"] + weights["head.bias"]  # (B, K)

    patches = jnp.asarray(patches).astype(kind)
    weights, patches, labels = jax.device_put((weights, patches, labels), where)
    return weights, patches, labels, logits_of


def versions() -> str:
    return f"JAX {jax.__version__}"


def reset_peak() -> None:
    """Does nothing: JAX keeps one peak per process, so only its first measurement is right."""


def peak_bytes() -> int | None:
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")
