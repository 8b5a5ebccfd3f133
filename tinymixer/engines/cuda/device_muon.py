"""Muon's update of all its matrices on the GPU: momentum, Newton-Schulz as batched products, and the weights.

`cuda/muon.cu` says how the matrices lie in stacks, and what a Newton-Schulz step is made of. A step of two stacks and
five iterations takes 38 launches, however many matrices there are.

Precision: X, X X^T and the polynomial are kept in the working format of the run (bfloat16 is what Jordan 2024 takes,
too), sums and (X X^T)^2 in float32. Weights and momentum are float32 as everywhere.
"""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from tinymixer.engines.cuda.memory_plan import Buffer, MemoryPlan
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.precision import Precision
from tinymixer.kernels.products import Products
from tinymixer.optim import Muon
from tinymixer.optim.groups import Setting
from tinymixer.optim.muon import ITERATIONS, UPDATE_SIZE

f32 = np.float32

# `Matrix` in cuda/muon.cu: the same fields in the same order.
MATRIX = np.dtype(
    [
        ("at", np.int64),
        ("in_stacks", np.int64),
        ("in_squares", np.int64),
        ("rows", np.int32),
        ("columns", np.int32),
        ("tall", np.int32),
        ("rate_factor", np.float32),
        ("decay", np.float32),
        ("scale", np.float32),
    ]
)
ALIGNED = 128  # elements between which stacks start: 256 bytes in 16 bits


@dataclass(frozen=True)
class Stack:
    """Matrices (n, rows, columns), rows <= columns, and where they begin: in X, and their squares in G, Q and P."""

    shape: tuple[int, int, int]
    in_stacks: int
    in_squares: int

    def wide(self, memory: Any) -> Any:
        """(n, rows, columns) of X."""
        return memory[self.in_stacks : self.in_stacks + prod(self.shape)].reshape(self.shape)

    def square(self, memory: Any) -> Any:
        """(n, rows, rows) of G, Q or P."""
        shape = (self.shape[0], self.shape[1], self.shape[1])
        return memory[self.in_squares : self.in_squares + prod(shape)].reshape(shape)


def stacks_of(optimizer: Muon) -> tuple[list[Stack], np.ndarray, tuple[int, int]]:
    """The stacks, the table of all matrices, MATRIX (matrices,), and the elements of X and of G, padding included."""
    parameters = optimizer.parameters
    by_shape: dict[tuple[int, ...], list[tuple[str, Setting]]] = {}
    for name in parameters:
        setting = optimizer.setting_of(name)
        if setting is not None and setting.matrix:
            by_shape.setdefault(tuple(sorted(parameters.shape(name))), []).append((name, setting))
    stacks, table, in_stacks, in_squares = [], [], 0, 0
    for (rows, columns), members in by_shape.items():
        stacks.append(Stack((len(members), rows, columns), in_stacks, in_squares))
        for i, (name, setting) in enumerate(members):
            table.append(
                (
                    parameters.span_of(name).start, in_stacks + i * rows * columns, in_squares + i * rows * rows, rows,
                    columns, parameters.shape(name) != (rows, columns), setting.learning_rate_factor,
                    setting.weight_decay, UPDATE_SIZE * sqrt(columns),
                )
            )  # fmt: skip
        in_stacks += -(-len(members) * rows * columns // ALIGNED) * ALIGNED
        in_squares += -(-len(members) * rows * rows // ALIGNED) * ALIGNED
    return stacks, np.array(table, MATRIX), (in_stacks, in_squares)


def plan_muon(optimizer: Muon, precision: Precision) -> MemoryPlan:
    """The memory of a Newton-Schulz step: two of X, G, P in the working format, Q in float32."""
    _, table, (wide, squares) = stacks_of(optimizer)
    return MemoryPlan(
        (
            Buffer("x", (wide,), precision.storage),
            Buffer("next_x", (wide,), precision.storage),
            Buffer("gram", (squares,), precision.storage),
            Buffer("polynomial", (squares,), precision.storage),
            Buffer("square", (squares,), np.float32),
            Buffer("norms", (len(table), layouts.WARP), np.float32),
        )
    )


class DeviceMuon:
    """The launches that update the matrices of a `Muon`, its AdamW parameters left out."""

    def __init__(self, cupy: Any, optimizer: Muon, precision: Precision) -> None:
        self._optimizer, self._precision = optimizer, precision
        self._stacks, table, _ = stacks_of(optimizer)
        plan = plan_muon(optimizer, precision)
        self._buffers = plan.views(cupy.zeros(plan.nbytes, np.uint8))
        self._table = cupy.asarray(table.view(np.uint8))
        sizes = table["rows"].astype(np.int64) * table["columns"]
        self._over_wide = layouts.per_matrix(len(table), int(sizes.max()))
        self._over_squares = layouts.per_matrix(len(table), int(table["rows"].max()) ** 2)

    @property
    def kernel_names(self) -> list[str]:
        number = self._precision.number
        return ["muon_momentum<float>", *(f"muon_{name}<{number}>" for name in ("begin", "polynomial", "update"))]

    def update(self, kernels: Kernels, products: Products, state: Any, working: Any) -> None:
        """Update momentum and weights, unless the step is to be skipped.

        state     of the step, on the device
        working   the copy of the weights in 16 bits; None where there is none
        """
        optimizer, number, buffers = self._optimizer, self._precision.number, self._buffers
        values, gradients = optimizer.parameters.values, optimizer.parameters.gradients
        velocity, norms = optimizer.state["mean"], buffers["norms"]
        momentum, table, layout = f32(optimizer.momentum), self._table, self._over_wide
        kernels.launch("muon_momentum<float>", layout, state, table, velocity, gradients, norms, momentum)
        kernels.launch(
            f"muon_begin<{number}>", layout, state, table, velocity, gradients, norms, buffers["x"], momentum
        )
        x, next_x = buffers["x"], buffers["next_x"]
        for coefficients in ITERATIONS[optimizer.iterations]:
            self._iterate(kernels, products, x, next_x, coefficients)
            x, next_x = next_x, x
        kernels.launch(f"muon_update<{number}>", layout, state, table, values, x, working)

    def _iterate(
        self, kernels: Kernels, products: Products, x: Any, next_x: Any, coefficients: tuple[float, float, float]
    ) -> None:
        """next_x = (a I + b G + c G^2) x,  G = x x^T, for every matrix."""
        gram, square, polynomial = (self._buffers[name] for name in ("gram", "square", "polynomial"))
        for stack in self._stacks:
            grams = stack.square(gram)
            products.multiply_stacks(stack.wide(x), stack.wide(x), out=grams, transpose_b=True)
            products.multiply_stacks(grams, grams, out=stack.square(square))
        kernels.launch(
            f"muon_polynomial<{self._precision.number}>", self._over_squares, self._table, gram, square, polynomial,
            *map(f32, coefficients),
        )  # fmt: skip
        for stack in self._stacks:
            products.multiply_stacks(stack.square(polynomial), stack.wide(x), out=stack.wide(next_x))
