"""The forward and backward pass of a Mixer as kernels and products over buffers that never move.

It computes what `MlpMixer` does, with fused operations. A LayerNorm kernel first adds the branch before it, with the
branch's bias and stochastic depth; its backward kernel adds the residual stream's gradient and sums that of the
branch's bias. A GELU kernel first adds the bias of the product before it. The residual stream has a buffer before every
LayerNorm, x0, x1, ...:

    x0 = stem product + bias                    x(2l+1) = x(2l) + token branch of block l
    x(2l+2) = x(2l+1) + channel branch          x(2L) goes to pre_head_layer_norm and the mean over tokens

so "norm i" is the LayerNorm that reads x(i), and "branch i-1" the branch that was added to make x(i).

A batch may be computed in parts, one forward and backward pass each, whose gradients are added up.
"""

from typing import Any

import numpy as np

from tinymixer.draws import threshold
from tinymixer.engines.cuda.bernoulli_masks import KEY_NUMBERS, dropout_place, hidden_shape
from tinymixer.engines.cuda.branch_factors import BranchFactors
from tinymixer.engines.cuda.device_sums import DeviceSums
from tinymixer.engines.cuda.fused_products import FusedProducts, choose_fused_products
from tinymixer.engines.cuda.memory_plan import plan_activations
from tinymixer.engines.cuda.mixer_launches import MixerLaunches
from tinymixer.engines.cuda.mixer_sums import MixerSums, branch_bias_name, by_token, norm_name
from tinymixer.engines.cuda.tile_mlps import TileMlps
from tinymixer.engines.cuda.weight_stream import WeightStream
from tinymixer.kernels import launch as layouts
from tinymixer.kernels.epilogues import Epilogues
from tinymixer.kernels.modules import Kernels
from tinymixer.kernels.precision import Precision
from tinymixer.kernels.products import Products
from tinymixer.kernels.timing import DeviceTimer
from tinymixer.kernels.tuning import Tuning
from tinymixer.models import MixerConfig
from tinymixer.parameters import Parameters

i32, i64, f32 = np.int32, np.int64, np.float32


class DeviceMixer:
    """Launches kernels over preallocated buffers, on the current CUDA stream; nothing waits.

    cupy             the CuPy module
    parameters       the model's, on this device, in float32; gradients are overwritten, not added to
    images           B, fixed: of the batch, or of each of its parts
    parts            number of parts of a batch
    recompute        apply GELU again in the backward pass instead of keeping hidden layers after it
    deterministic    sums in a fixed order, so that two runs agree to the last bit
    tiles            which MLPs are tile kernels, and these kernels
    first_image, batch   where these images stand in the whole batch, and its size; it is larger than images * parts
                         where ranks share it out
    pool             memory of at least `plan.nbytes`, given to `bind`

    `working` is the 16-bit copy of the weights (the weights themselves in float32 and tf32). `fused` says which of the
    channel MLP's bias, GELU and gradients are part of its products (`use_epilogues`). `weight_stream`, where it is set,
    is a second stream for the products that make gradients of weights.
    """

    weight_stream: WeightStream | None = None

    def __init__(
        self,
        cupy: Any,
        config: MixerConfig,
        parameters: Parameters,
        precision: Precision,
        images: int,
        multiprocessors: int,
        parts: int = 1,
        recompute: bool = False,
        deterministic: bool = True,
        tiles: TileMlps | None = None,
        first_image: int = 0,
        batch: int | None = None,
    ) -> None:
        self.first_image, self.batch = first_image, batch or images * parts
        self.config, self.parameters, self.precision = config, parameters, precision
        self.images, self.parts, self.recompute = images, parts, recompute
        self.rows = config.num_tokens * images
        self.tiles = tiles or TileMlps()
        self.plan = plan_activations(config, images, precision, recompute, self.tiles.fused)
        self.sums = DeviceSums(deterministic)
        self.fused = FusedProducts()
        self._part = 0
        self._cupy = cupy
        self.launches = MixerLaunches(config, precision, images, multiprocessors)
        target, fused = self.gradient_offset, self.tiles.fused
        self._places = MixerSums.reserve(self.sums, config, self.launches, images, target, fused)
        self.sums.allocate(cupy)
        self.tiles.reserve(cupy, config.num_blocks, target)
        self.working = parameters.values
        if precision.has_working_copy:
            self.working = cupy.zeros(parameters.values.shape, precision.storage)
        self._branches = BranchFactors(cupy, config.num_blocks, config.drop_path, self.batch)
        self.key = cupy.zeros(KEY_NUMBERS, np.uint32)

    # ------------------------------------------------------------------------------------------ layout

    def gradient_offset(self, name: str) -> int:
        """Where a gradient starts in the flat vector, in elements."""
        gradients = self.parameters.gradients
        return (self.parameters.gradient(name).data.ptr - gradients.data.ptr) // gradients.dtype.itemsize

    def bind(self, kernels: Kernels, products: Products, pool: Any) -> None:
        """Take the compiled kernels, the products and the memory, once they exist."""
        self._kernels, self._multiply = kernels, products.multiply
        self.buffers = self.plan.views(pool)
        self.dlogits = self.sums.matrix(self._places.dlogits, self.images, self.config.num_classes)

    def use_epilogues(self, epilogues: Epilogues, timer: DeviceTimer, tuning: Tuning | None) -> None:
        """Fuse the channel MLP's bias, GELU and gradients into its products: see `choose_fused_products`."""
        if self.tiles.fused.forward("channel"):
            return
        self._epilogues = epilogues
        try:
            choose_fused_products(self, epilogues, timer, tuning)
        except (RuntimeError, epilogues.error):
            self.fused = FusedProducts()
            raise
        if self.fused.bias_gradient:
            for block in range(self.config.num_blocks):
                self.sums.leave_out(self._places.gelu[block, "channel"])

    def _weight(self, name: str) -> Any:
        """A parameter in the working format."""
        shape, start = self.parameters.shape(name), self.gradient_offset(name)
        return self.working[start : start + int(np.prod(shape))].reshape(shape)

    # ------------------------------------------------------------------------------------------ forward

    def draw_branches(self) -> None:
        """Stochastic depth's factors for the whole batch, under `key`."""
        self._branches.draw(self._kernels, self.key)

    def forward(
        self, pixels: Any, choices: Any, colours: Any, padding: int, cutout_box: int, train: bool, part: int = 0
    ) -> None:
        """From the data set (N, height, width, colours) uint8 and choices (B, 6) to `buffers["features"]` and logits.

        In training, hidden units and branches are dropped; `part` is the batch's part that these images are.
        """
        config, buffers = self.config, self.buffers
        name, layout = self.launches.patches
        self._kernels.launch(
            name, layout, pixels, choices, colours, buffers["patches"], i32(config.image_size), i32(config.in_channels),
            i32(config.patch_size), i32(config.overlap), i32(padding), i32(cutout_box), i32(self.images),
            i32(self.rows),
        )  # fmt: skip
        self.forward_from_patches(train, part)

    def forward_from_patches(self, train: bool, part: int = 0) -> None:
        """The rest of `forward`, from `buffers["patches"]` on."""
        config, buffers, self._part = self.config, self.buffers, part
        self._multiply(buffers["patches"], self._weight("stem.weight"), out=buffers["branch"])
        for block in range(config.num_blocks):
            self._norm(2 * block, train)
            self.run_mlp("token", block, train)
            self._norm(2 * block + 1, train)
            self.run_mlp("channel", block, train)
        self._norm(2 * config.num_blocks, train)
        self._kernels.launch(
            "fill_rows<float>", layouts.flat(buffers["logits"].size), buffers["logits"], self.parameters["head.bias"],
            i64(buffers["logits"].size), i64(config.num_classes),
        )  # fmt: skip
        self._multiply(buffers["features"], self.parameters["head.weight"], out=buffers["logits"], add=True)

    def _norm(self, i: int, train: bool) -> None:
        """Add branch i-1 to the residual stream and normalise; the last norm also takes the mean over tokens."""
        config, buffers, parameters, last = self.config, self.buffers, self.parameters, 2 * self.config.num_blocks
        (name, layout), out, count = self.launches.norm_forward, buffers.get(f"normed{i}"), self.rows
        if i == last:
            (name, layout), out, count = self.launches.norm_mean, buffers["features"], config.num_tokens
        self._kernels.launch(
            name, layout,
            buffers[f"x{i - 1}"] if i else None, buffers["branch"], parameters[branch_bias_name(i)],
            self._factor(i) if train else None,
            parameters[f"{norm_name(self.config, i)}.scale"], parameters[f"{norm_name(self.config, i)}.bias"],
            buffers[f"x{i}"], out, buffers[f"mean{i}"], buffers[f"inv_std{i}"],
            i32(count), i32(config.hidden_dim), i32(self.images), i32(by_token(i)), f32(config.layer_norm_eps),
        )  # fmt: skip

    def _factor(self, i: int) -> Any:
        """Stochastic depth's factors for branch i-1 and the images of this part; None where it is never dropped."""
        return self._branches.of(i - 1, self.first_image + self._part * self.images)

    def mlp(self, kind: str, block: int) -> tuple[Any, Any, Any, Any, Any]:
        """What an MLP's forward pass works on: input, first weight and bias, second weight, output."""
        part, by = f"blocks.{block}.{kind}_mixing", self._by_tokens if kind == "token" else lambda array: array
        normed, weight1 = self.buffers[f"normed{2 * block + (kind == 'channel')}"], self._weight(f"{part}.weight1")
        bias1, weight2 = self.parameters[f"{part}.bias1"], self._weight(f"{part}.weight2")
        return by(normed), weight1, bias1, weight2, by(self.buffers["branch"])

    def run_mlp(self, kind: str, block: int, train: bool = True) -> None:
        """An MLP's forward pass, from the normalised rows to the branch."""
        if self.tiles.fused.forward(kind):
            return self.tiles.forward(kind, *self.mlp(kind, block))
        return (self._token_mixing if kind == "token" else self._channel_mixing)(block, train)

    def run_mlp_gradient(self, kind: str, block: int) -> None:
        """Its backward pass, from the branch's gradient to the normalised rows' (in "branch") and the weights'."""
        if not self.tiles.fused.backward(kind):
            return (self._token_mixing_gradient if kind == "token" else self._channel_mixing_gradient)(block)
        dy = self._branch_gradient(2 * block + 1 + (kind == "channel"))
        self.tiles.backward(kind, *self.mlp(kind, block), dy=self._by_tokens(dy) if kind == "token" else dy)
        return self.tiles.finish(kind, block, self._kernels, self.parameters.gradients, add=self._part > 0)

    def _token_mixing(self, block: int, train: bool) -> None:
        buffers, part = self.buffers, f"blocks.{block}.token_mixing"
        hidden, activated = self._hidden("token", block), self._activated("token", block)  # (DS, B*C)
        self._multiply(self._weight(f"{part}.weight1"), self._by_tokens(buffers[f"normed{2 * block}"]), out=hidden)
        self._gelu("token", block)
        if train:
            self._drop("token", block, activated)
        self._multiply(self._weight(f"{part}.weight2"), activated, out=self._by_tokens(buffers["branch"]))

    def _channel_mixing(self, block: int, train: bool) -> None:
        weight2 = self._weight(f"blocks.{block}.channel_mixing.weight2")
        self.channel_hidden(block)
        if train:
            self._drop("channel", block, self._activated("channel", block))
        self._multiply(self._activated("channel", block), weight2, out=self.buffers["branch"])

    def channel_hidden(self, block: int) -> None:
        """Compute the hidden layer before and after GELU. The one before has the bias only in a fused product."""
        buffers, part = self.buffers, f"blocks.{block}.channel_mixing"
        normed, weight1 = buffers[f"normed{2 * block + 1}"], self._weight(f"{part}.weight1")
        hidden, activated = self._hidden("channel", block), self._activated("channel", block)  # (S*B, DC)
        if self.fused.forward:
            self._epilogues.bias_gelu(normed, weight1, self._weight(f"{part}.bias1"), z=hidden, a=activated)
            return
        self._multiply(normed, weight1, out=hidden)
        self._gelu("channel", block)

    def _gelu(self, kind: str, block: int) -> None:
        """Add the bias to a kept hidden layer, apply GELU, and write the result into the activated one."""
        hidden, bias = self._hidden(kind, block), self._hidden_bias(kind, block)
        (name, layout), activated = self.launches.gelu_forward[kind], self._activated(kind, block)
        rows, columns = map(i64, hidden.shape)
        sizes = (columns,) if kind == "token" else (rows, columns)
        self._kernels.launch(name, layout, hidden, bias, activated, *sizes)

    def _drop(self, kind: str, block: int, hidden: Any) -> None:
        """Dropout in a hidden layer, or in its gradient: the same mask both times."""
        if not self.config.dropout:
            return
        (name, layout), rate = self.launches.dropout[kind], self.config.dropout
        _, images, columns = hidden_shape(self.config, kind, self.images)
        self._kernels.launch(
            name, layout, hidden, self.key, np.uint32(dropout_place(block, kind)),
            i32(self.first_image + self._part * images), i32(images), i32(columns), i64(hidden.size),
            np.uint32(threshold(1 - rate)), f32(1 / (1 - rate)),
        )  # fmt: skip

    def _activate_again(self, kind: str, block: int) -> None:
        """GELU and dropout once more, where the results were not kept."""
        if self.recompute:
            self._gelu(kind, block)
            self._drop(kind, block, self._activated(kind, block))

    def _hidden_bias(self, kind: str, block: int) -> Any:
        """The bias that a kept hidden layer still lacks; None where the product's epilogue has added it."""
        if kind == "channel" and self.fused.forward:
            return None
        return self.parameters[f"blocks.{block}.{kind}_mixing.bias1"]

    def _hidden(self, kind: str, block: int) -> Any:
        return self.buffers[f"{kind}_hidden{0 if self.tiles.fused.backward(kind) else block}"]

    def _activated(self, kind: str, block: int) -> Any:
        return self.buffers[f"{kind}_activated{0 if self.recompute or self.tiles.fused.backward(kind) else block}"]

    def _by_tokens(self, array: Any) -> Any:
        """(S*B, C) -> (S, B*C), the same memory: what makes token mixing one product from the left."""
        return array.reshape(self.config.num_tokens, self.images * self.config.hidden_dim)

    def loss(self, targets: Any, state: Any, label_smoothing: float, losses: Any, correct: Any) -> None:
        """From the logits to each image's loss and correctness (B,), and the logits' gradient times the loss scale.

        targets   labels (N,), the images' indices into them (B,), their partners' and the mix, or None for both
        """
        labels, indices, partner_indices, mix = targets
        self.sums.clear()  # before the logits' gradient is written, which lies among the partial sums
        self._kernels.launch(
            "cross_entropy<float>", layouts.per_warp(self.images), self.buffers["logits"], labels, indices, None,
            partner_indices, mix, state, self.dlogits, losses, correct, i32(self.images), i32(self.batch),
            i32(self.config.num_classes), f32(label_smoothing),
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ backward

    def backward(self) -> None:
        """From `dlogits` to the gradients of all parameters, added to those of the parts before.

        The images' gradient is not computed.
        """
        buffers, last = self.buffers, 2 * self.config.num_blocks
        if self.weight_stream is not None:
            self.weight_stream.begin()
        self._weight_gradient("head.weight", buffers["features"], self.dlogits, reads="the head", transpose_a=True)
        self._multiply(self.dlogits, self.parameters["head.weight"], out=buffers["dfeatures"], transpose_b=True)
        self._norm_gradient(last)
        for block in reversed(range(self.config.num_blocks)):
            self.run_mlp_gradient("channel", block)
            self._norm_gradient(2 * block + 1)
            self.run_mlp_gradient("token", block)
            self._norm_gradient(2 * block)
        self._weight_gradient("stem.weight", buffers["patches"], buffers["dx"], reads="dy", transpose_a=True)
        if self.weight_stream is not None:
            self.weight_stream.join()  # the gradients are read next, and the next part overwrites what it reads
        self.sums.finish(self._kernels, self.parameters.gradients, add=self._part > 0)

    def _weight_gradient(self, name: str, a: Any, b: Any, reads: str, **transposed: bool) -> None:
        """Multiply into a weight's gradient: a batch's first part overwrites it, the others add to it.

        reads   the shared buffer among the factors ("dy", "dhidden"). The product may run on the second stream, so
                before that buffer is written again, `_wait_for_readers` must be called.
        """
        options: dict[str, Any] = {"out": self.parameters.gradient(name), "add": self._part > 0, **transposed}
        if self.weight_stream is None:
            self._multiply(a, b, **options)
        else:
            self.weight_stream.multiply(a, b, reads, **options)

    def _wait_for_readers(self, shared: str) -> None:
        if self.weight_stream is not None:
            self.weight_stream.wait_for_readers(shared)

    def _norm_gradient(self, i: int) -> None:
        """Add norm i's input gradient to the residual stream's, and write branch i-1's where that differs."""
        self._wait_for_readers("dy")
        config, buffers, norm = self.config, self.buffers, norm_name(self.config, i)
        (name, layout), last = self.launches.norm_backward, i == 2 * config.num_blocks
        scale, bias, down, across = (None if at is None else self.sums.at(at) for at in self._places.norms[i])
        factor = self._factor(i)
        self._kernels.launch(
            name, layout,
            None if last else buffers["branch"], buffers["dfeatures"] if last else None, buffers[f"x{i}"],
            self.parameters[f"{norm}.scale"], buffers[f"mean{i}"], buffers[f"inv_std{i}"],
            None if last else buffers["dx"], factor, buffers["dx"], None if factor is None else buffers["dbranch"],
            scale, bias, down, across,
            i32(self.rows), i32(config.hidden_dim), i32(self.images), self.sums.atomic,
        )  # fmt: skip

    def _branch_gradient(self, i: int) -> Any:
        """The gradient of branch i-1 (S*B, C): the residual stream's, times stochastic depth's factors."""
        return self.buffers["dx" if self._factor(i) is None else "dbranch"]

    def _channel_mixing_gradient(self, block: int) -> None:
        """With a = gelu(z): dW2 = a^T dy, da = dy W2^T, dz = da gelu'(z), dW1 = n^T dz, dn = dz W1^T."""
        part = f"blocks.{block}.channel_mixing"
        dy = self._branch_gradient(2 * block + 2)  # (S*B, C)
        self._activate_again("channel", block)
        self._weight_gradient(f"{part}.weight2", self._activated("channel", block), dy, reads="dy", transpose_a=True)
        self._wait_for_readers("dhidden")
        dhidden = self.channel_hidden_gradient(block)  # (S*B, DC)
        self.channel_first_gradients(block)
        self._multiply(dhidden, self._weight(f"{part}.weight1"), out=self.buffers["branch"], transpose_b=True)

    def channel_hidden_gradient(self, block: int) -> Any:
        """da = dy W2^T, dz = da gelu'(z); returns dz (S*B, DC). GELU's own kernel also sums dz over its rows."""
        buffers, part = self.buffers, f"blocks.{block}.channel_mixing"
        dy, weight2 = self._branch_gradient(2 * block + 2), self._weight(f"{part}.weight2")  # (S*B, C), (DC, C)
        hidden = buffers[f"channel_hidden{block}"]  # (S*B, DC)
        dhidden = self._dhidden(hidden)  # (S*B, DC)
        if self.fused.gelu_gradient:
            self._epilogues.gelu_gradient(dy, weight2, z=hidden, dz=dhidden)
            return dhidden
        self._multiply(dy, weight2, out=dhidden, transpose_b=True)
        self._drop("channel", block, dhidden)
        name, layout = self.launches.gelu_backward["channel"]
        self._kernels.launch(
            name, layout, dhidden, hidden, self._hidden_bias("channel", block),
            self.sums.at(self._places.gelu[block, "channel"]), i64(hidden.shape[0]), i64(hidden.shape[1]),
            self.sums.atomic,
        )  # fmt: skip
        return dhidden

    def channel_first_gradients(self, block: int) -> None:
        """The gradients of the first product's weight and, where GELU's kernel has not summed it, of its bias."""
        part, normed = f"blocks.{block}.channel_mixing", self.buffers[f"normed{2 * block + 1}"]  # (S*B, C)
        dhidden = self._dhidden(self.buffers[f"channel_hidden{block}"])  # (S*B, DC)
        if self.fused.bias_gradient:
            gradient = self.parameters.gradient
            self._epilogues.weight_gradient(normed, dhidden, gradient(f"{part}.weight1"), gradient(f"{part}.bias1"))
            return
        self._weight_gradient(f"{part}.weight1", normed, dhidden, reads="dhidden", transpose_a=True)
        if self.fused.gelu_gradient:
            name, layout = self.launches.column_sums
            self._kernels.launch(
                name, layout, dhidden, self.sums.at(self._places.gelu[block, "channel"]), i64(dhidden.shape[0]),
                i64(dhidden.shape[1]), self.sums.atomic,
            )  # fmt: skip

    def _dhidden(self, hidden: Any) -> Any:
        """The memory for the gradient of a hidden layer, in its shape; every layer's turn to use it comes."""
        return self.buffers["dhidden"][: hidden.size].reshape(hidden.shape)

    def _token_mixing_gradient(self, block: int) -> None:
        """As for channels, with left and right exchanged: dW2 = dy a^T, da = W2^T dy, dW1 = dz n^T, dn = W1^T dz."""
        buffers, part = self.buffers, f"blocks.{block}.token_mixing"
        dy = self._by_tokens(self._branch_gradient(2 * block + 1))  # (S, B*C)
        normed = self._by_tokens(buffers[f"normed{2 * block}"])  # (S, B*C)
        hidden = buffers[f"token_hidden{block}"]  # (DS, B*C)
        dhidden = self._dhidden(hidden)  # (DS, B*C)
        self._activate_again("token", block)
        self._weight_gradient(f"{part}.weight2", dy, self._activated("token", block), reads="dy", transpose_b=True)
        self._wait_for_readers("dhidden")
        self._multiply(self._weight(f"{part}.weight2"), dy, out=dhidden, transpose_a=True)
        self._drop("token", block, dhidden)
        name, layout = self.launches.gelu_backward["token"]
        self._kernels.launch(
            name, layout, dhidden, hidden, self.parameters[f"{part}.bias1"],
            self.sums.at(self._places.gelu[block, "token"]), i64(hidden.shape[1]), self.sums.atomic,
        )  # fmt: skip
        self._weight_gradient(f"{part}.weight1", dhidden, normed, reads="dhidden", transpose_b=True)
        self._multiply(
            self._weight(f"{part}.weight1"), dhidden, out=self._by_tokens(buffers["branch"]), transpose_a=True
        )
