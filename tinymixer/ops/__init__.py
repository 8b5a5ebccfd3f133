"""The mathematics of a Mixer, and of what it is compared with. One file per operation: forward, backward, derivation.

An operation is a pair of plain functions on arrays: `y, cache = f_forward(x, ...)`, `dx, ... = f_backward(dy, cache)`.
Inputs are never written to and outputs never alias them; the dtype that goes in comes out. Only the calls listed in
`tinymixer.ops.array_library` are used, so every operation runs on NumPy and CuPy alike.
"""

from tinymixer.ops.average_pooling import (
    average_pooling_backward,
    average_pooling_forward,
    global_average_pooling_backward,
    global_average_pooling_forward,
)
from tinymixer.ops.batch_norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference_backward,
    batch_norm_inference_forward,
)
from tinymixer.ops.class_token import (
    prepend_class_token_backward,
    prepend_class_token_forward,
    take_class_token_backward,
    take_class_token_forward,
)
from tinymixer.ops.convolution import convolution_backward, convolution_forward
from tinymixer.ops.dropout import drop_path_backward, drop_path_forward, dropout_backward, dropout_forward
from tinymixer.ops.gate import gate_backward, gate_forward
from tinymixer.ops.gelu import gelu_erf_backward, gelu_erf_forward, gelu_tanh_backward, gelu_tanh_forward
from tinymixer.ops.group_norm import group_norm_backward, group_norm_forward
from tinymixer.ops.layer_norm import layer_norm_backward, layer_norm_forward
from tinymixer.ops.layer_scale import layer_scale_backward, layer_scale_forward
from tinymixer.ops.linear import linear_backward, linear_forward, token_linear_backward, token_linear_forward
from tinymixer.ops.max_pooling import max_pooling_backward, max_pooling_forward
from tinymixer.ops.mean_over_tokens import mean_over_tokens_backward, mean_over_tokens_forward
from tinymixer.ops.patches import images_to_patches_backward, images_to_patches_forward
from tinymixer.ops.pool_tokens import pool_tokens_backward, pool_tokens_forward
from tinymixer.ops.position_embedding import position_embedding_backward, position_embedding_forward
from tinymixer.ops.relative_attention import relative_attention_backward, relative_attention_forward
from tinymixer.ops.relu import relu_backward, relu_forward
from tinymixer.ops.self_attention import self_attention_backward, self_attention_forward
from tinymixer.ops.softmax import softmax_backward, softmax_forward
from tinymixer.ops.softmax_cross_entropy import (
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from tinymixer.ops.weight_standardisation import (
    scaled_weight_standardisation_backward,
    scaled_weight_standardisation_forward,
    weight_standardisation_backward,
    weight_standardisation_forward,
)
from tinymixer.ops.windows import images_to_windows_backward, images_to_windows_forward

__all__ = [
    "average_pooling_backward",
    "average_pooling_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "convolution_backward",
    "convolution_forward",
    "drop_path_backward",
    "drop_path_forward",
    "dropout_backward",
    "dropout_forward",
    "gate_backward",
    "gate_forward",
    "gelu_erf_backward",
    "gelu_erf_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "global_average_pooling_backward",
    "global_average_pooling_forward",
    "group_norm_backward",
    "group_norm_forward",
    "images_to_patches_backward",
    "images_to_patches_forward",
    "images_to_windows_backward",
    "images_to_windows_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "layer_scale_backward",
    "layer_scale_forward",
    "linear_backward",
    "linear_forward",
    "max_pooling_backward",
    "max_pooling_forward",
    "mean_over_tokens_backward",
    "mean_over_tokens_forward",
    "pool_tokens_backward",
    "pool_tokens_forward",
    "position_embedding_backward",
    "position_embedding_forward",
    "prepend_class_token_backward",
    "prepend_class_token_forward",
    "relative_attention_backward",
    "relative_attention_forward",
    "relu_backward",
    "relu_forward",
    "scaled_weight_standardisation_backward",
    "scaled_weight_standardisation_forward",
    "self_attention_backward",
    "self_attention_forward",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "take_class_token_backward",
    "take_class_token_forward",
    "token_linear_backward",
    "token_linear_forward",
    "weight_standardisation_backward",
    "weight_standardisation_forward",
]
