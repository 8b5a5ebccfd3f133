"""An ONNX graph while it is built, and what every model's graph is made of."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tinymixer import __version__
from tinymixer.errors import ConfigError, install_line
from tinymixer.ops.gelu import TANH_CUBIC, TANH_SLOPE

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # of the file format; the one of opset 17's time, which every runtime since reads


class Graph:
    """An ONNX graph while it is built: every method adds nodes and returns the name of the last one's output."""

    def __init__(self, inputs: tuple[str, tuple[Any, ...]], classes: int) -> None:
        try:
            import onnx
        except ImportError as error:
            raise ConfigError(f"writing ONNX needs the package onnx: {install_line('onnx')}") from error
        self._onnx = onnx
        self.inputs, self.classes = inputs, classes
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._scope = ""

    def scope(self, name: str) -> None:
        """Names of what follows begin with this, as the parameters' do."""
        self._scope = name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add one node; returns its output."""
        name = f"{self._scope}/{operator}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: ArrayLike, dtype: Any = np.float32, name: str = "") -> str:
        """Add an array; returns its name."""
        name = name or f"{self._scope}/constant_{len(self.weights)}"
        self.weights.append(self._onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """Another shape, batch first: 0 keeps the batch's length."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def linear(self, x: str, weight: str, bias: str) -> str:
        """x (B, S, I), weight (I, O), bias (O,)  ->  (B, S, O)"""
        return self.add("Add", self.add("MatMul", x, weight), bias)

    def token_linear(self, x: str, weight: str, bias: str) -> str:
        """x (B, S, C), weight (O, S), bias (O, 1)  ->  (B, O, C)"""
        return self.add("Add", self.add("MatMul", weight, x), bias)

    def layer_norm(self, x: str, scale: str, bias: str, eps: float) -> str:
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=eps)

    def gelu(self, x: str, form: str) -> str:
        """GELU in its "tanh" or "erf" form, as in `ops/gelu.py`."""
        if form == "erf":
            inner = self.add("Erf", self.add("Mul", x, self.constant(np.sqrt(0.5))))
        else:
            cubes = self.add("Mul", self.add("Mul", self.add("Mul", x, x), x), self.constant(TANH_CUBIC))
            inner = self.add("Tanh", self.add("Mul", self.add("Add", x, cubes), self.constant(TANH_SLOPE)))
        shifted = self.add("Add", inner, self.constant(1.0))
        return self.add("Mul", self.add("Mul", x, self.constant(0.5)), shifted)

    def to_model(self, known: Mapping[str, str]) -> "onnx.ModelProto":
        """The finished model; the last node's output is the logits."""
        helper, float32 = self._onnx.helper, self._onnx.TensorProto.FLOAT
        self.nodes.append(helper.make_node("Identity", [self.nodes[-1].output[0]], ["logits"], name="logits"))
        name, shape = self.inputs
        graph = helper.make_graph(
            self.nodes,
            "tinymixer",
            [helper.make_tensor_value_info(name, float32, ["B", *shape])],
            [helper.make_tensor_value_info("logits", float32, ["B", self.classes])],
            self.weights,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tinymixer",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(known))
        self._onnx.checker.check_model(model)
        return model
