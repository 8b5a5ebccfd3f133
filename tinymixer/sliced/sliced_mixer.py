"""The whole Mixer on an ordinary processor: the batch in slices, the slices on threads."""

import itertools
from functools import partial

import numpy as np

from tinymixer.errors import ConfigError
from tinymixer.ops import images_to_patches_forward, softmax_cross_entropy
from tinymixer.sliced.block import (
    channel_mixing_backward,
    channel_mixing_forward,
    normalise,
    normalise_backward,
    token_mixing_backward,
    token_mixing_forward,
)
from tinymixer.sliced.cache import largest_cache
from tinymixer.sliced.folding import FoldedBlock, unfold_gradients
from tinymixer.sliced.gelu import FORMS
from tinymixer.sliced.gradients import GradientSink
from tinymixer.sliced.masks import NOTHING_DROPPED, draw_masks
from tinymixer.sliced.slices import SliceSize, choose_slice
from tinymixer.sliced.threads import ThreadTeam, default_threads
from tinymixer.sliced.workspace import Workspace

FOLDED_BYTES = 24 << 20  # of folded weights at a time in a forward pass


class SlicedMixer:
    """Computes what `model` computes, from the same parameters and into the same gradients, but faster.

    model          an MlpMixer on NumPy
    threads        Python threads; 0 takes one per core (`default_threads`)
    slice_images   images of a slice; 0 takes as many as suit the cache (`slice_size` says how many and why)

    Four ideas; the rest is bookkeeping.

    1.  Slices. The batch is worked through a few images at a time, forward and backward, in buffers that are used
        again for every slice: no page faults, and a layer's working set stays in the cache.
    2.  Threads. One Python thread per core, each with its own slices, buffers and gradient vector; BLAS uses one
        thread. NumPy lets go of the interpreter lock inside every call. The threads' gradients are added in their
        order, so the same seed, slices and number of threads give the same bits.
    3.  Tiles. OpenBLAS has kernels for small products that skip the packing of operands (`products.py`).
    4.  Folding. LayerNorm's scale and bias, the centring in its backward pass, the bias of channel mixing and GELU's
        constants are moved to the weights, once a step (`folding.py`).

    Raises ConfigError for a model on another array library and for negative numbers.
    """

    def __init__(self, model, threads=0, slice_images=0):
        if model.backend.xp is not np:
            raise ConfigError(f"the sliced step is for NumPy, this model computes with {model.backend.name}")
        for name, value in (("threads", threads), ("slice_images", slice_images)):
            if value < 0:
                raise ConfigError(f"{name} must be 0 (choose for me) or more, got {value}")
        self.model = model
        self.threads = threads or default_threads()
        itemsize = model.parameters.dtype.itemsize
        asked_for = SliceSize(slice_images, "as asked for")
        self.slice_size = asked_for if slice_images else choose_slice(model.config, itemsize, largest_cache())
        self.slice_images = self.slice_size.images
        self._gelu = FORMS[model.config.gelu]
        self._team = ThreadTeam(self.threads)
        # Made when they are first needed: evaluation needs less than training.
        self._folded, self._sinks, self._workspaces = [], [], {}

    def logits(self, images):
        """images (B, height, width, in_channels), normalised  ->  logits (B, K)"""
        model, blocks, shares = self.model, range(len(self.model.blocks)), self._shares(len(images))
        model.check_images(images)
        stream = (model.config.tokens * len(images), model.config.hidden_dim)
        x = np.empty(stream, model.parameters.dtype)  # (S*B, C), slice after slice
        logits = np.empty((len(images), model.config.num_classes), x.dtype)  # (B, K)

        def work(thread, slices, group):
            for part in slices:
                ws = self._workspace(thread, part.stop - part.start, forward_only=True)
                ws.x = x[part.start * model.config.tokens : part.stop * model.config.tokens]
                if group.start == 0:
                    self._stem(ws, images[part])
                for i in group:
                    self._block_forward(ws, ws.blocks[0], i, self._folded[i - group.start], (NOTHING_DROPPED,) * 2)
                if group.stop == blocks.stop:
                    logits[part], _ = self._head(ws)

        # Of a large model, all slices go through a few blocks before the next are folded: its weights need not all be
        # there twice. Groups cost time, since threads wait for each other after each.
        size = max(self.threads, FOLDED_BYTES // FoldedBlock.forward_bytes(model.config, x.itemsize))
        for start in range(0, blocks.stop, size):
            group = blocks[start : start + size]
            self._fold(group, backward=False)
            self._team.run(partial(work, group=group), shares)
        return logits

    def loss_and_gradients(self, images, labels, label_smoothing=0.0, rng=None, share=1.0):
        """Forward, loss and backward; the parameters' gradients, times share, are added to the model's.

        images (B, height, width, in_channels), labels (B,) or (B, K)  ->  mean loss, images classified correctly
        """
        self.model.check_images(images)
        self._fold(range(len(self.model.blocks)), backward=True)
        self._sinks = self._sinks or [GradientSink(self.model) for _ in range(self.threads)]
        count = len(images)
        masks = draw_masks(self.model, count, rng)

        def work(thread, slices):
            sink, loss, correct = self._sinks[thread], 0.0, 0
            sink.empty = True
            for part in slices:
                ws = self._workspace(thread, part.stop - part.start, forward_only=False)
                part_masks = [tuple(branch.of_slice(part) for branch in block) for block in masks]
                patches = self._stem(ws, images[part])
                for i, kept in enumerate(ws.blocks):
                    self._block_forward(ws, kept, i, self._folded[i], part_masks[i], train=True)
                logits, head_inputs = self._head(ws)
                part_loss, dlogits = softmax_cross_entropy(logits, labels[part], label_smoothing)
                weight = len(logits) / count
                loss += float(part_loss) * weight
                target = labels[part] if labels.ndim == 1 else np.argmax(labels[part], axis=1)  # (n,)
                correct += int(np.sum(np.argmax(logits, axis=1) == target))
                self._backward(ws, patches, head_inputs, dlogits * (weight * share), part_masks, sink)
            return loss, correct

        results = self._team.run(work, self._shares(count))
        self._add_up()
        return sum(loss for loss, _ in results), sum(correct for _, correct in results)

    def _shares(self, images):
        """Each thread's slices, of about equal size: a list of slices per thread."""
        bounds = [images * thread // self.threads for thread in range(self.threads + 1)]
        shares = []
        for start, stop in itertools.pairwise(bounds):
            parts = -(-(stop - start) // self.slice_images)
            edges = [start + (stop - start) * i // parts for i in range(parts + 1)] if parts else []
            shares.append([slice(*pair) for pair in itertools.pairwise(edges)])
        return shares

    def _workspace(self, thread, images, forward_only):
        key = (thread, images, forward_only)
        if key not in self._workspaces:
            model = self.model
            self._workspaces[key] = Workspace(model.config, images, model.parameters.dtype, forward_only)
        return self._workspaces[key]

    def _fold(self, blocks, backward):
        """Fold the weights of some blocks, in their order, into the first of the folded ones."""
        model = self.model
        while len(self._folded) < len(blocks):
            self._folded.append(FoldedBlock(model.config, model.parameters.dtype, self._gelu))

        def work(thread):
            for folded, i in list(zip(self._folded, blocks, strict=False))[thread :: self.threads]:
                folded.fold(model.blocks[i].parameters, backward)

        self._team.run(work)

    def _stem(self, ws, images):
        """A slice's images (n, height, width, in_channels)  ->  patches (S*n, P*P*in_channels); ws.x from them"""
        stem = self.model.stem.parameters
        patches = images_to_patches_forward(images, self.model.config.patch_size)[0].reshape(len(ws.x), -1)
        np.matmul(patches, stem["weight"], out=ws.x)
        np.add(ws.x, stem["bias"], ws.x)
        return patches

    def _block_forward(self, ws, kept, index, folded, masks, train=False):
        """ws.x (S*n, C) through a block, in place."""
        w, eps = self.model.blocks[index].parameters, self.model.config.layer_norm_eps
        token_masks, channel_masks = masks
        token_mixing_forward(ws, kept, folded, w, eps, token_masks, train)
        channel_mixing_forward(ws, kept, folded, w, eps, channel_masks, train)

    def _head(self, ws):
        """ws.x (S*n, C)  ->  logits (n, K), and the head's input before and after its scale and bias: (n, C), (n, C)"""
        norm, head = self.model.pre_head_layer_norm.parameters, self.model.head.parameters
        tokens, count, channels = ws.shape
        normalise(ws, ws.final_x_hat, ws.final_inv_std, self.model.config.layer_norm_eps)
        # The mean over tokens goes through LayerNorm's scale and bias, which are the same for all of them.
        pooled = (ws.mean_over_tokens @ ws.final_x_hat.reshape(tokens, -1)).reshape(count, channels)  # (n, C)
        features = pooled * norm["scale"] + norm["bias"]  # (n, C)
        return features @ head["weight"] + head["bias"], (pooled, features)

    def _backward(self, ws, patches, head_inputs, dlogits, masks, sink):
        """dlogits (n, K); the slice's gradients are added to the thread's."""
        model, g, (pooled, features) = self.model, sink.top, head_inputs
        scale = model.pre_head_layer_norm.parameters["scale"]
        sink.product(g["head.weight"], features.T, dlogits, np.matmul)
        sink.column_sums(g["head.bias"], dlogits, ws.ones)
        dfeatures = dlogits @ model.head.parameters["weight"].T  # (n, C)
        sink.column_sums(g["pre_head_layer_norm.bias"], dfeatures, ws.ones)
        sink.column_sums(g["pre_head_layer_norm.scale"], dfeatures * pooled, ws.ones)
        dx_hat = dfeatures * (scale * (1 / ws.shape[0]))  # (n, C), the same for every token
        dx_hat -= np.mean(dx_hat, axis=1, keepdims=True)
        ws.dbranch.reshape(ws.shape)[...] = dx_hat
        ws.dx.fill(0)
        normalise_backward(ws, ws.dbranch, ws.final_x_hat, ws.final_inv_std)
        for i in reversed(range(len(self._folded))):
            kept, folded, gradients = ws.blocks[i], self._folded[i], sink.blocks[i]
            token_masks, channel_masks = masks[i]
            channel_mixing_backward(ws, kept, folded, gradients, sink, channel_masks)
            weights = model.blocks[i].parameters
            token_mixing_backward(ws, kept, folded, weights, gradients, sink, token_masks)
        sink.product(g["stem.weight"], patches.T, ws.dx, np.matmul)
        sink.column_sums(g["stem.bias"], ws.dx, ws.ones)
        sink.empty = False

    def _add_up(self):
        """The threads' gradients in the threads' order, unfolded, into the model's."""
        total, *others = [sink for sink in self._sinks if not sink.empty]
        model = self.model

        def work(thread):
            for i in range(thread, len(model.blocks), self.threads):
                for name, view in total.blocks[i].items():
                    for other in others:
                        np.add(view, other.blocks[i][name], view)
                gradients = total.blocks[i]
                unfold_gradients(model.blocks[i].parameters, gradients, self._gelu)
                for name, view in gradients.items():
                    model.blocks[i].parameters.gradient(name)[...] += view

        self._team.run(work)
        for name, view in total.top.items():
            for other in others:
                np.add(view, other.top[name], view)
            model.parameters.gradient(name)[...] += view
