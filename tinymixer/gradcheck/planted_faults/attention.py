"""Mistakes in the operations of a transformer: softmax, self-attention, position embeddings and the class token."""

from typing import Any

import numpy as np

from tinymixer import ops
from tinymixer.gradcheck.planted_faults.registry import fault
from tinymixer.ops.array_library import Array, Cache


def _scores(generator: np.random.Generator) -> tuple[Any, ...]:
    return (generator.normal(size=(3, 4, 4)),)


def _qkv(generator: np.random.Generator) -> tuple[Any, ...]:
    """Four tokens of two images, two heads of 4 channels: tokens and channels of a head are as many."""
    return generator.normal(size=(4, 2, 24)), 2


def _tokens_and_embedding(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(4, 3, 5)), generator.normal(size=(4, 5))


def _tokens_and_one(generator: np.random.Generator) -> tuple[Any, ...]:
    return generator.normal(size=(4, 3, 5)), generator.normal(size=5)


def _tokens(generator: np.random.Generator) -> tuple[Any, ...]:
    return (generator.normal(size=(4, 3, 5)),)


def _parts(dqkv: Array) -> Array:
    """dqkv (S, B, 3*C)  ->  the gradients of queries, keys and values (3, S, B, C)"""
    return np.stack(np.split(dqkv, 3, axis=-1))


def _joined(parts: Any) -> Array:
    return np.concatenate(list(parts), axis=-1)


@fault("softmax", _scores)
def sum_of_the_row_forgotten(dy: Array, cache: Cache) -> Array:
    """The exponential is differentiated, but not the sum that it is divided by: dx = y dy."""
    return dy * cache


@fault("softmax", _scores)
def softmax_taken_for_a_sigmoid(dy: Array, cache: Cache) -> Array:
    """Only the diagonal of the derivative is used, y (1 - y), as if the scores of a row did not compete."""
    return dy * cache * (1 - cache)


@fault("softmax", _scores)
def weighted_mean_of_the_wrong_axis(dy: Array, cache: Cache) -> Array:
    """The mean of dy, weighted by y, is taken over the rows instead of within each row."""
    return cache * (dy - np.sum(dy * cache, axis=-2, keepdims=True))


@fault("self_attention", _qkv)
def scores_not_scaled_in_the_backward(dy: Array, cache: Cache) -> Array:
    """The forward divides the scores by sqrt(D); the gradients of queries and keys are not divided."""
    qkv, heads = cache
    dq, dk, dv = _parts(ops.self_attention_backward(dy, cache))
    width = (qkv.shape[-1] // (3 * heads)) ** 0.5
    return _joined([dq * width, dk * width, dv])


@fault("self_attention", _qkv)
def queries_and_keys_exchanged(dy: Array, cache: Cache) -> Array:
    """The gradients of queries and keys stand in each other's place."""
    dq, dk, dv = _parts(ops.self_attention_backward(dy, cache))
    return _joined([dk, dq, dv])


@fault("self_attention", _qkv)
def attention_not_transposed(dy: Array, cache: Cache) -> Array:
    """The gradient of the values is a dy instead of a^T dy: it goes to the tokens that asked."""
    qkv, heads = cache
    dq, dk, _ = _parts(ops.self_attention_backward(dy, cache))
    value_is_dy = np.concatenate([qkv[..., : 2 * qkv.shape[-1] // 3], dy], axis=-1)
    return _joined([dq, dk, ops.self_attention_forward(value_is_dy, heads)[0]])


@fault("self_attention", _qkv)
def only_the_values_receive(dy: Array, cache: Cache) -> Array:
    """The attention weights are taken for constants: queries and keys get no gradient and are not trained."""
    dq, dk, dv = _parts(ops.self_attention_backward(dy, cache))
    return _joined([0 * dq, 0 * dk, dv])


@fault("self_attention", _qkv)
def channels_of_the_heads_interleaved(dy: Array, cache: Cache) -> Array:
    """The heads' gradients are joined channel by channel, where the forward took each head's channels together."""
    qkv, heads = cache
    split = ops.self_attention_backward(dy, cache).reshape(*qkv.shape[:2], 3, heads, -1)
    return split.transpose(0, 1, 2, 4, 3).reshape(qkv.shape)


@fault("position_embedding", _tokens_and_embedding)
def embedding_gradient_averaged(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The gradient of the embedding is the mean over the images, not the sum."""
    return dy.copy(), dy.mean(axis=1)


@fault("prepend_class_token", _tokens_and_one)
def class_token_of_the_first_image_only(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The class token receives the first image's gradient, though every image begins with it."""
    return dy[1:].copy(), dy[0, 0].copy()


@fault("prepend_class_token", _tokens_and_one)
def class_token_taken_from_the_end(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """The backward looks for the class token behind the others, where the forward put it before them."""
    return dy[:-1].copy(), dy[-1].sum(axis=0)


@fault("take_class_token", _tokens)
def gradient_spread_over_all_tokens(dy: Array, cache: Cache) -> Array:
    """All tokens receive 1 / S of the gradient, as after a mean, where only the first was taken."""
    return np.broadcast_to(dy / cache[0], cache).copy()
