"""Notebooks as learners hand them in, for the tests of this folder."""

import json

RIGHT = "def my_bias_gradient(dy):\n    return dy.sum(axis=0)\n"
RIGHT_FORWARD = "def my_linear_forward(x, weight, bias):\n    return x @ weight + bias\n"


def write_notebook(path, *cells):
    code = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in cells]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# text"}, *code]}), encoding="utf-8")
    return path
