"""Where one thread adds up its gradients."""

import numpy as np

from tinymixer.sliced.products import matmul


class GradientSink:
    """A flat vector of a thread's own, laid out like the parameters: its first slice writes, later ones add."""

    def __init__(self, model):
        parameters = model.parameters
        self.vector = np.empty_like(parameters.values)
        views = parameters.views_of(self.vector)
        self.top = {name: view for name, view in views.items() if not name.startswith("blocks.")}
        self.blocks = [
            {name: views[f"blocks.{i}.{name}"] for name in block.parameters} for i, block in enumerate(model.blocks)
        ]
        self.partial = np.empty(max(view.size for view in views.values()), parameters.dtype)
        self.empty = True

    def product(self, view, a, b, multiply=matmul):
        """view += multiply(a, b)"""
        if self.empty:
            multiply(a, b, view)
        else:
            partial = self.partial[: view.size].reshape(view.shape)
            multiply(a, b, partial)
            np.add(view, partial, view)

    def column_sums(self, view, a, ones):
        """view += the sums of a's columns: a product with ones is the fastest reduction there is"""
        self.product(view, ones[: a.shape[0]], a, np.matmul)

    def row_sums(self, view, a, ones):
        """view += the sums of a's rows"""
        self.product(view, a, ones[: a.shape[1]], np.matmul)
