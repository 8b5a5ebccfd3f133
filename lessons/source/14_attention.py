# %% [markdown]
# # Lesson 14 · Attention beside token mixing
#
# *125 minutes. Before: [lesson 06](06_softmax_cross_entropy.ipynb) (softmax), [lesson 08](08_token_mixing.ipynb) (token mixing),
# [lesson 10](10_training.ipynb) (training).*
#
# A Mixer mixes its tokens with weights that are the same for every image. Attention mixes the same tokens with weights that it computes
# anew for each image, from the tokens themselves. It is the layer that the Mixer was made to do without. After this lesson you can
#
# * say what attention computes, and what it has in common with token mixing,
# * derive and write the backward pass of softmax and of attention, step by step,
# * count what both mixings cost as the number of tokens grows, and measure it,
# * show that attention does not notice the order of its tokens, and say why a Mixer needs no position embeddings,
# * train a small Vision Transformer beside a Mixer, and look at what it attends to without being fooled.

# %% [markdown]
# ## Before you begin
#
# **1.** A LayerNorm does not notice when the same number is added to all channels of a token. What does that say about its `dx`? (lesson 05)
#
# <details><summary>Answer</summary>
#
# `dx` adds up to zero over the channels of each token. The loss is flat in the direction $(1, \dots, 1)$, and a gradient has no part along a direction
# in which nothing changes.
#
# </details>
#
# **2.** All images of a batch share one `bias`. Is its gradient the mean or the sum of what the images send back? (lesson 02)
#
# <details><summary>Answer</summary>
#
# The sum. There is a path from the bias to the loss through each image, and paths add up. (The mean over the batch is part of the loss, so it is already in `dy`.)
#
# </details>
#
# **3.** What is the shape of the weight of a token mixing with one Linear, for 16 tokens of 32 channels? What happens if you hand it 25 tokens? (lesson 08)
#
# <details><summary>Answer</summary>
#
# `(16, 16)`: in the package's form, with the weight on the left, a row for each token that comes out and a column for each token that goes in. All channels share it. With 25 tokens the
# product does not fit: there are no weights for tokens 16 to 24.
#
# </details>

# %%
import time
import tracemalloc

import numpy as np

from tinymixer import MixerConfig, MlpMixer, ops
from tinymixer.analysis.curves import COLOURS, INK
from tinymixer.analysis.validation import balanced_split
from tinymixer.data import Batches, load_dataset, normalise
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.errors import ShapeError
from tinymixer.gradcheck import check_layer, check_operation
from tinymixer.layers import (
    ChannelMixing,
    LayerNorm,
    Linear,
    MultiHeadSelfAttention,
    PositionEmbedding,
    TokenLinear,
    TokenMixing,
)
from tinymixer.lessons import NotYet, check, fewer_in_browser, new_figure, show
from tinymixer.models import VisionTransformer, ViTConfig
from tinymixer.ops.self_attention import attention_backward, scaled, split_heads
from tinymixer.optim import AdamW
from tinymixer.optim.schedules import cosine
from tinymixer.training import evaluate, train_step

# %% [markdown]
# ## Two ways to mix tokens
# Take one image: $S$ tokens, each a row of $C$ channels. Call the rows $x_0, \dots, x_{S-1}$. Token mixing with a single Linear (lesson 08, without its bias) turns them
# into
#
# $$y_i = \sum_j W_{ij}\, x_j . \qquad\qquad\text{(token mixing)}$$
#
# The new token $i$ is a weighted sum of all tokens $j$, with one weight for each pair of positions. These weights are *parameters*: training sets them, and then they are the
# same for every image. (A Mixer has two such Linears with a GELU between them. One is enough to see the difference.) Attention computes
#
# $$y_i = \sum_j a_{ij}\, v_j . \qquad\qquad\text{(attention)}$$
#
# It is the same kind of sum. But what is added up is not $x_j$ itself: it is $v_j$, the result of a Linear. And $a_{ij}$ is not a parameter: it is computed from the tokens, by a
# rule that has parameters. Here are both matrices for two digits, with untrained layers. The next section explains how $a$ is computed.

# %%
digits = load_dataset("digits")
rng = np.random.default_rng(0)
pictures = digits.train_images[:2]  # (2, 8, 8, 1)
patches, _ = ops.images_to_patches_forward(
    normalise(pictures, digits.mean, digits.std), 2
)  # (16, 2, 4): S, B, pixels of a patch
x, _ = Linear(4, 32, seed=0).forward(patches)  # (S, B, C)
x, _ = LayerNorm(32).forward(x)

fixed = TokenLinear(16, seed=1).parameters["weight"]  # (S, S)
attention = MultiHeadSelfAttention(32, heads=1, seed=2)


def attention_weights(layer, x):
    """x (S, B, C)  ->  a (B, heads, S, S), the weights with which the layer mixes the tokens"""
    p = layer.parameters
    qkv, _ = ops.linear_forward(x, p["weight_qkv"], p["bias_qkv"])  # (S, B, 3*C)
    q, k, _ = split_heads(qkv, layer.heads)  # (B, heads, S, D) each
    return ops.softmax_forward(scaled(q) @ k.transpose(0, 1, 3, 2))[0]  # scaled: / sqrt(D)


computed = attention_weights(attention, x)  # (B, 1, S, S)

figure, axes = new_figure(2, 3, width=6.5, height=4.2)
for row, picture in enumerate(pictures):
    axes[row, 0].imshow(picture[:, :, 0], cmap="gray")
    axes[row, 1].imshow(fixed, cmap="RdBu", vmin=-0.8, vmax=0.8)
    axes[row, 2].imshow(computed[row, 0], cmap="Blues", vmin=0)
for axis, title in zip(axes[0], ("image", "token mixing", "attention"), strict=True):
    axis.set_title(title)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[1, 1].set_xlabel("from token j")
axes[1, 2].set_xlabel("from token j")
axes[1, 1].set_ylabel("to token i")
show(
    figure,
    alt="Two digits, and beside each a matrix of token mixing and one of attention. The matrix of token mixing, "
    "positive and negative, is the same for both; that of attention is positive and differs between the digits.",
)
print("token mixing: the rows add up to", fixed.sum(axis=1)[:3].round(2), "...")
print("attention:    the rows add up to", computed[0, 0].sum(axis=1)[:3].round(2), "...")

# %% [markdown]
# You can see three differences. Attention's matrix depends on the image; its numbers are positive; and each row adds up to 1, so a new token is a *weighted mean* of the $v_j$. Token mixing may
# subtract one token from another. Attention's weights cannot do that, since none of them is negative.
#
# ## What attention computes
# From each token, three Linears compute three vectors of $D$ numbers: a **query** $q_i$ (what token $i$ looks for), a **key** $k_i$ (what it offers to be found by) and a **value**
# $v_i$ (what it hands over when found). This is *self*-attention: all three come from the same tokens. Then (Vaswani et al. 2017, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762), eq. 1)
#
# $$\begin{array}{lll}
# \text{scores} & s_{ij} = \frac{1}{\sqrt D} \sum_e q_{ie}\, k_{je} & \text{how well does key } j \text{ fit query } i\,? \\[4pt]
# \text{weights} & a_{ij} = \dfrac{e^{s_{ij}}}{\sum_l e^{s_{il}}} & \text{a softmax along each row} \\[8pt]
# \text{output} & y_{ie} = \sum_j a_{ij}\, v_{je} &
# \end{array}$$
#
# with $i$, $j$ and $l$ for tokens and $e$ for one of the $D$ numbers. As products of matrices: $s = q\,k^{\mathsf T}/\sqrt D$ and $y = a\,v$, where $\mathsf T$ stands for the transpose.
#
# **Why divide by $\sqrt D$?** Suppose the numbers in $q$ and $k$ are independent, with mean 0 and variance 1. Each product $q_{ie}k_{je}$ then has mean 0 and variance 1, too, and the
# variances of $D$ independent products add up to $D$. The scores' standard deviation is $\sqrt D$. Softmax takes exponentials, so large scores leave one weight near 1 and all others near 0. Dividing by
# $\sqrt D$ makes the standard deviation 1 for any $D$:

# %%
print("    D   deviation of the scores     mean of each row's largest weight, of 16")
print("            q k^T   / sqrt(D)         q k^T   / sqrt(D)")
for D in (4, 64, 1024):
    q, k = rng.normal(size=(2, 100, 16, D))  # (100, S, D) each
    scores = q @ k.transpose(0, 2, 1)  # (100, S, S)
    line = f"{D:5} {scores.std():12.2f} {(scores / np.sqrt(D)).std():11.2f}"
    for one in (scores, scores / np.sqrt(D)):
        largest = ops.softmax_forward(one)[0].max(axis=-1).mean()
        line += f"{largest:14.2f}" if one is scores else f"{largest:12.2f}"
    print(line)

# %% [markdown]
# ### Exercise 14.1
# Write attention for one image. `ops.softmax_forward(scores)` works along the last axis and returns a pair, the weights and its cache. The backward pass will need $q$, $k$, $v$ and $a$: return them as your cache, in this order.


# %%
def my_attention_forward(q, k, v):
    """q, k, v (S, D) each  ->  y (S, D), cache (q, k, v, a) with a (S, S)"""
    ### BEGIN SOLUTION
    scores = q @ k.T / q.shape[1] ** 0.5  # (S, S)
    a, _ = ops.softmax_forward(scores)  # (S, S)
    return a @ v, (q, k, v, a)
    ### END SOLUTION


check("14.1", my_attention_forward)

# %% [markdown]
# ## Backward through a softmax
# In lesson 06 softmax came together with the logarithm of the loss, and the gradient was the short $p - t$. Here softmax stands in the middle of the network, and some later layer
# sends back *any* gradient. So we need softmax's own backward pass.
#
# Take one row: $N$ scores, which go into the softmax and are therefore called $x_0, \dots, x_{N-1}$ here; the sum of their exponentials $Z = \sum_k e^{x_k}$; and the probabilities $p_i = e^{x_i}/Z$. Every $p_i$ depends on every $x_j$, because $Z$ contains them all:
# $\partial Z/\partial x_j = e^{x_j}$. The numerator $e^{x_i}$ depends on $x_j$ only where $i = j$. With $\delta_{ij}$ (1 where $i = j$, else 0) and the rule for a quotient,
# $(u/Z)' = (u'Z - u\,Z')/Z^2$:
#
# $$\frac{\partial p_i}{\partial x_j} = \frac{\delta_{ij}\,e^{x_i}\,Z - e^{x_i}\,e^{x_j}}{Z^2} = p_i\,\delta_{ij} - p_i\,p_j .$$
#
# These $N \times N$ numbers are the Jacobian. As a matrix it is $\operatorname{diag}(p) - p\,p^{\mathsf T}$: the probabilities on the diagonal, less the table of all their products. The chain rule adds up the
# paths from $x_j$ through all $p_i$. Let `dp` be the gradient that arrives:
#
# $$\texttt{dx}_j = \sum_i \texttt{dp}_i\,\big(p_i\,\delta_{ij} - p_i\,p_j\big) = p_j\,\texttt{dp}_j - p_j \sum_i \texttt{dp}_i\,p_i .$$
#
# $$\boxed{\;\texttt{dx}_j = p_j\,\Big(\texttt{dp}_j - \sum_i \texttt{dp}_i\,p_i\Big)\;}$$
#
# The sum is *one* number for the whole row, the mean of `dp` weighted by $p$. So the matrix is never formed: $N$ products, a sum, and $N$ more products take the place of $N^2$ numbers. The formula also makes sense. Where `dp` lies above that mean, more
# probability raises the loss by more than the average: `dx` is positive, and a step downhill lowers that score. Where `dp` lies below the mean, the score rises. The entries of a row compete for a total of 1, and each moves in proportion to its own probability.
#
# ### Exercise 14.2
# Write it for an array of any shape, with rows along the last axis. As always, the function calls its output `y`: `y` holds the probabilities, $p$ above, and `dy` is what arrives, `dp` above.


# %%
def my_softmax_backward(dy, y):
    """dy (..., N), y (..., N) rows of probabilities  ->  dx (..., N)"""
    ### BEGIN SOLUTION
    mean = (dy * y).sum(axis=-1, keepdims=True)  # (..., 1)
    return y * (dy - mean)  # (..., N)
    ### END SOLUTION


check("14.2", my_softmax_backward)

# %% [markdown]
# Four tests of the formula, on one row: against the whole Jacobian; against small steps; by a flat direction; and against lesson 06. The flat direction: softmax does not notice when the same number is added to all scores of a row. So, as in LayerNorm, `dx` must add up to zero. In lesson 06 the loss was
# $-\sum_i t_i \log p_i$ with a target $t$ whose sum is 1. So $\texttt{dp}_i = -t_i/p_i$, the weighted mean is $-\sum_i t_i = -1$, and $\texttt{dx}_j = p_j\,(-t_j/p_j + 1) = p_j - t_j$, the same gradient as there. (The package's `ops.softmax_backward(dy, cache)` has the probabilities as its cache.)

# %%
scores, dp = rng.normal(size=(2, 6))  # (N,) each
p, cache = ops.softmax_forward(scores)
dx = ops.softmax_backward(dp, cache)  # (N,)
jacobian = np.diag(p) - np.outer(p, p)  # (N, N)
steps = 1e-6 * np.eye(6)
measured = np.array(
    [
        dp @ (ops.softmax_forward(scores + h)[0] - ops.softmax_forward(scores - h)[0])
        for h in steps
    ]
) / 2e-6  # (N,)  # fmt: skip
t = np.eye(6)[2]  # (N,) the right class is 2
print(f"from the Jacobian, largest difference:  {abs(dp @ jacobian - dx).max():.0e}")
print(f"from small steps, largest difference:   {abs(measured - dx).max():.0e}")
print(f"dx adds up to                           {dx.sum():.0e}")
from_loss = ops.softmax_backward(-t / p, cache)  # (N,)
print(f"from lesson 06, largest difference:     {abs(from_loss - (p - t)).max():.0e}")
print(
    f"\nAn image of 196 tokens has {196**2:,} scores. Their Jacobians would be {196**3:,} numbers."
)

# %% [markdown]
# ## Backward through attention
# We are given `dy` and look for the gradients with respect to $q$, $k$ and $v$. The forward pass had three steps: the scores, the softmax, the product with the values. We go back through them in the opposite order.

# %%
figure, axis = new_figure(width=8, height=2.9)
nodes = {
    "q": ("$q$\n(S, D)", (0, 1)),
    "k": ("$k$\n(S, D)", (0, -1)),
    "s": (r"$s = q\,k^T/\sqrt{D}$" + "\n(S, S)", (2.1, 0)),
    "a": ("$a$ = softmax($s$)\n(S, S)", (4.4, 0)),
    "v": ("$v$\n(S, D)", (4.4, -1.6)),
    "y": (r"$y = a\,v$" + "\n(S, D)", (6.6, 0)),
}
for words, place in nodes.values():
    axis.text(*place, words, ha="center", va="center", fontsize=11, color=INK)
for start, end, named, shift in (
    ("s", "q", "dq", (0.1, 0.22)),
    ("s", "k", "dk", (0.1, -0.25)),
    ("a", "s", "ds", (0, 0.22)),
    ("y", "a", "da", (0, 0.22)),
    ("y", "v", "dv", (0.25, -0.2)),
):
    tail, tip = np.array(nodes[start][1]), np.array(nodes[end][1])
    way = {"arrowstyle": "-|>", "color": COLOURS[0], "linewidth": 2}
    axis.annotate(
        "", xy=tail + 0.64 * (tip - tail), xytext=tail + 0.4 * (tip - tail), arrowprops=way
    )
    axis.text(
        *(tail + 0.5 * (tip - tail) + shift),
        named,
        color=COLOURS[0],
        ha="center",
        va="center",
    )
axis.annotate(
    "",
    xy=(7.3, 0),
    xytext=(7.9, 0),
    arrowprops={"arrowstyle": "-|>", "color": COLOURS[0], "linewidth": 2},
)
axis.text(7.6, 0.22, "dy", color=COLOURS[0], ha="center", va="center")
axis.set(xlim=(-0.5, 8.1), ylim=(-2.1, 1.5))
axis.axis("off")
show(
    figure,
    alt="Attention as a graph: q and k make the scores s, these the weights a, and a and v the output y. Arrows run "
    "backward: dy becomes dv and da, da becomes ds, and ds becomes dq and dk.",
)

# %% [markdown]
# **The output.** $y_{ie} = \sum_j a_{ij}\,v_{je}$ is the product of lesson 02 once more, but here *both* factors depend on the tokens, and both need a gradient. The value $v_{je}$ reaches the outputs of every token $i$, with the factor $a_{ij}$:
#
# $$\texttt{dv}_{je} = \sum_i a_{ij}\,\texttt{dy}_{ie} \qquad\Rightarrow\qquad \texttt{dv} = a^{\mathsf T}\,\texttt{dy} .$$
#
# In the forward pass token $i$ collected from all tokens $j$; now each $j$ gets something back from every $i$ that collected. The weight $a_{ij}$ reaches the $D$ outputs of token $i$, with the factors $v_{je}$:
#
# $$\texttt{da}_{ij} = \sum_e \texttt{dy}_{ie}\,v_{je} \qquad\Rightarrow\qquad \texttt{da} = \texttt{dy}\;v^{\mathsf T} .$$
#
# **The weights.** Each row of $a$ is the softmax of the same row of $s$. So we need exercise 14.2, row by row:
#
# $$\texttt{ds}_{ij} = a_{ij}\,\Big(\texttt{da}_{ij} - \sum_l \texttt{da}_{il}\,a_{il}\Big) .$$
#
# **The scores.** $s_{ij} = \frac1{\sqrt D}\sum_e q_{ie}\,k_{je}$ is a product again. The query $q_{ie}$ reaches the scores of its row, with the factors $k_{je}/\sqrt D$. The key $k_{je}$ reaches the scores of its *column*, with the factors $q_{ie}/\sqrt D$:
#
# $$\texttt{dq}_{ie} = \frac1{\sqrt D}\sum_j \texttt{ds}_{ij}\,k_{je} , \qquad\qquad
# \texttt{dk}_{je} = \frac1{\sqrt D}\sum_i \texttt{ds}_{ij}\,q_{ie} .$$
#
# Which of these two needs `ds` transposed? A product `a @ b` sums over the last index of `a` and the first of `b`.
#
# ### Exercise 14.3
# Write the five steps: `dv`, `da`, `ds`, `dq`, `dk`. For the softmax, use the package's `ops.softmax_backward(da, a)`.


# %%
def my_attention_backward(dy, cache):
    """dy (S, D), cache (q, k, v, a)  ->  dq, dk, dv, (S, D) each"""
    q, k, v, a = cache
    ### BEGIN SOLUTION
    dv = a.T @ dy  # (S, D)
    da = dy @ v.T  # (S, S)
    ds = ops.softmax_backward(da, a)  # (S, S)
    ds /= q.shape[1] ** 0.5  # the factor of the scores
    dq = ds @ k  # (S, D)
    dk = ds.T @ q  # (S, D)
    return dq, dk, dv
    ### END SOLUTION


check("14.3", my_attention_backward)

# %% [markdown]
# Now the package's gradient checker (lesson 03) looks at *your* two functions. It knows nothing about attention: it moves the inputs a little, in float64 and with a random `dy`, and compares the slopes with your gradients. It also looks at something that our exercises let pass: whether float32 stays float32. If it complains about types, think of the float64 trap
# of lesson 04: `np.sqrt(D)` of a whole number is a NumPy float64, `D**0.5` is a plain Python number.

# %%
try:
    report = check_operation(
        my_attention_forward, my_attention_backward, *rng.normal(size=(3, 5, 4))
    )
    print("the gradient check of your attention:", "passed" if report.passed else "FAILED")
    print(f"worst relative error {report.worst_error:.0e}")
    for failure in report.failures[:3]:
        print(failure.sentence())
except NotYet as not_yet:
    print(not_yet)

# %% [markdown]
# ## Several heads
# One table of weights $a$ gives each token one way of looking around. So attention is done several times side by side, in **heads**, each with queries, keys and values of its own. To keep the cost the same, the $C$ channels are divided among the heads: each gets $D = C/\text{heads}$ of them. A head's
# channels lie beside each other, head 0 first.
#
# In the package, activations are `(S, B, C)`. Attention wants to multiply matrices `(S, D)`, one for each image and head. NumPy's `@` multiplies along the last two axes and does a separate product for each index of the axes before them. So bring the array into the shape `(B, heads, S, D)`: cut the last axis
# in two, then exchange axes. After the attention, the heads are merged again.
#
# ### Exercise 14.4
# Write both directions, with `reshape` and `transpose`. Merging undoes splitting, so it is also the backward pass of splitting (lesson 08: the gradient of a transposition is the transposition back).


# %%
def my_split_heads(x, heads):
    """x (S, B, C), C = heads * D  ->  (B, heads, S, D)"""
    ### BEGIN SOLUTION
    S, B, C = x.shape
    return x.reshape(S, B, heads, C // heads).transpose(1, 2, 0, 3)
    ### END SOLUTION


def my_merge_heads(dy):
    """dy (B, heads, S, D)  ->  (S, B, heads * D)"""
    ### BEGIN SOLUTION
    B, heads, S, D = dy.shape
    return dy.transpose(2, 0, 1, 3).reshape(S, B, heads * D)
    ### END SOLUTION


check("14.4", my_split_heads, my_merge_heads)

# %% [markdown]
# Now the whole layer, `MultiHeadSelfAttention`: one Linear makes queries, keys and values, `(S, B, C)` to `(S, B, 3*C)`; attention in heads; one more Linear from $C$ to $C$, so that what the heads found can be combined. By hand and by the package:

# %%
layer = MultiHeadSelfAttention(12, heads=3, dtype="float64", seed=0)
tokens = rng.normal(size=(5, 2, 12))  # (S, B, C)
p = layer.parameters
qkv, _ = ops.linear_forward(tokens, p["weight_qkv"], p["bias_qkv"])  # (S, B, 3*C)
q, k, v = split_heads(qkv, 3)  # (B, heads, S, D) each: (2, 3, 5, 4)
a, _ = ops.softmax_forward(q @ k.transpose(0, 1, 3, 2) / np.sqrt(4))  # (B, heads, S, S)
merged = (a @ v).transpose(2, 0, 1, 3).reshape(5, 2, 12)  # (S, B, C)
y, _ = ops.linear_forward(merged, p["weight_out"], p["bias_out"])  # (S, B, C)
print("shapes:", tokens.shape, qkv.shape, q.shape, a.shape, merged.shape, y.shape)
print(f"largest difference from the layer: {abs(y - layer.forward(tokens)[0]).max():.0e}")
report = check_layer(layer, tokens)
print(
    f"its gradient check: {'passed' if report.passed else 'FAILED'}, worst error {report.worst_error:.0e}"
)

# %% [markdown]
# ## What more tokens cost
# Both mixings bring every token together with every other. What do they cost, and how does it grow with $S$? Count **multiply-adds** of one image (a product of `(m, k)` and `(k, n)` has $m\,k\,n$), in matrix products only.
#
# * Token mixing has two products, `(DS, S) @ (S, C)` and `(S, DS) @ (DS, C)`.
# * Attention has its Linears, from $C$ to $3C$ and from $C$ to $C$, for every token. And each head has two products over pairs of tokens, $q\,k^{\mathsf T}$ and $a\,v$.
# * Attention makes an array that token mixing does not have: the scores of all heads, a number for each pair of tokens.
#
# ### Exercise 14.5
# Count all three. (A sum with one term for each product keeps it readable.)


# %%
def my_mixing_costs(S, C, DS, heads):
    """Sizes (whole numbers)  ->  multiply-adds of token mixing, multiply-adds of attention,
    numbers in attention's scores: all for one image"""
    ### BEGIN SOLUTION
    token_mixing = DS * S * C + S * DS * C
    linears = S * C * 3 * C + S * C * C
    D = C // heads
    pairs = heads * (S * D * S + S * S * D)
    return token_mixing, linears + pairs, heads * S * S
    ### END SOLUTION


check("14.5", my_mixing_costs)

# %% [markdown]
# The number of heads drops out of the count of multiply-adds, since $\text{heads} \cdot D = C$:
#
# $$\text{token mixing} = 2\,S\,D_S\,C , \qquad\qquad \text{attention} = 4\,S\,C^2 + 2\,S^2\,C .$$
#
# As long as $D_S$ stays, token mixing grows in proportion to the tokens; attention has a term that grows with their *square*. (The Mixer's authors choose $D_S$ independently of $S$ and point out that their network is therefore linear in the number of tokens, unlike a ViT.) Where do the two cross? Divide both by $2\,S\,C$: attention costs more where
#
# $$2\,C + S > D_S , \qquad\text{that is}\qquad S > D_S - 2\,C .$$
#
# And attention's own two terms are equal where $S = 2\,C$: below that, the Linears cost more than all the pairs. The table has the sizes of Mixer-S/16 ($C = 512$, $D_S = 256$) at images of 112, 224, 448 and 896 pixels a side:

# %%
C, DS, heads = 512, 256, 8
print("                 token        attention:     attention:         its      numbers in")
print("tokens          mixing           Linears          pairs      scores      the tokens")
for S in (49, 196, 784, 3136):
    counts = 2 * S * DS * C, 4 * S * C * C, 2 * S * S * C, heads * S * S, S * C
    print(
        f"{S:6} {counts[0]:15,} {counts[1]:17,} {counts[2]:14,} {counts[3]:11,} {counts[4]:15,}"
    )

# %% [markdown]
# With these sizes attention always costs more, since $D_S - 2C$ is negative. The square shows late, but it is a square: in the last row the pairs cost three times as much as the Linears.
#
# Now we measure: forward and backward of the package's two layers, for 2 images with $C = 64$ and a wide $D_S = 256$, so that by the count they cross at $S = 256 - 128 = 128$. Attention runs once with one head and once with four.


# %%
def fastest(runs, turns):
    """The least seconds of each function; they take turns, so that a busy moment meets all."""
    seconds = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: min(times) for name, times in seconds.items()}


def forward_and_backward(layer, x):
    """A function without arguments that runs the layer forwards and backwards on x."""

    def run():
        y, cache = layer.forward(x)
        layer.backward(y, cache)

    return run


C, DS, B = 64, 256, 2
token_counts = (16, 32, 64, 128, 256, 512)
measured = {}
print(f"tokens {'token mixing':>13} {'1 head':>11} {'4 heads':>11}   (milliseconds)")
for S in token_counts:
    x = rng.normal(size=(S, B, C)).astype(np.float32)
    layers = {
        "token mixing": TokenMixing(S, DS),
        "attention, 1 head": MultiHeadSelfAttention(C, 1),
        "attention, 4 heads": MultiHeadSelfAttention(C, 4),
    }
    runs = {name: forward_and_backward(layer, x) for name, layer in layers.items()}
    times = fastest(runs, turns=20 if S < 256 else 6)
    for name, seconds in times.items():
        measured.setdefault(name, []).append(1000 * seconds)
    print(f"{S:6}" + "".join(f"{1000 * seconds:12.2f}" for seconds in times.values()))

# %%
figure, axes = new_figure(1, 2, width=8, height=3)
counted = {
    "token mixing": [2 * S * DS * C for S in token_counts],
    "attention": [4 * S * C * C + 2 * S * S * C for S in token_counts],
}
for (name, counts), colour in zip(counted.items(), COLOURS, strict=False):
    axes[0].loglog(token_counts, np.array(counts) / 1e6, "o-", color=colour, label=name)
axes[0].axvline(DS - 2 * C, color=INK, linestyle=":")
axes[0].set_title("counted: millions of multiply-adds")
for (name, milliseconds), colour, style in zip(
    measured.items(), (COLOURS[0], COLOURS[1], COLOURS[1]), ("o-", "o-", "o--"), strict=True
):
    axes[1].loglog(token_counts, milliseconds, style, color=colour, label=name)
axes[1].set_title("measured: milliseconds, both passes")
for axis in axes:
    axis.set_xlabel("tokens S")
    axis.set_xticks(token_counts, token_counts)
    axis.minorticks_off()
    axis.legend()
show(
    figure,
    alt="Against the number of tokens: by multiply-adds token mixing and attention cross at 128 tokens. In measured time "
    "attention is faster for few tokens and several times slower for 512, where four heads are much slower than one.",
)

# %% [markdown]
# The count is the same for one head and four; the time is not. What the count leaves out is mainly the softmax: an exponential, a maximum, a sum and a division for each of the $\text{heads} \cdot S^2$ scores, and these are passes over memory, not products. (Lesson 04 counted such passes for GELU. With many tokens the narrower products of four heads also take longer, for as many multiply-adds.) So
# with four heads attention falls behind sooner, and by more, than the count says. These times belong to the machine that ran this notebook and to these sizes. A count is the same everywhere and leaves things out. Trust neither alone.
#
# ## Why the package computes its scores twice
# The scores of a batch, `(B, heads, S, S)`, can be the largest array of the whole network. In the table above they outgrow the tokens themselves where $\text{heads} \cdot S > C$, that is $S > D$. Our cache of exercise 14.1 keeps the weights $a$ for the backward pass, and every block of the network would keep
# its own. The package does not. `ops.self_attention_forward` makes the scores of a few images, uses them and drops them; its cache is `qkv` alone. The backward pass makes them *again*, for a few images at a time. (FlashAttention does the same on a GPU, with blocks of the table of scores: Dao et al. 2022, [arXiv 2205.14135](https://arxiv.org/abs/2205.14135).)
# Here is the other approach for comparison, all images at once with the weights kept. Python's `tracemalloc` counts the memory.


# %%
def keeping_forward(qkv, heads):
    """qkv (S, B, 3*C)  ->  y (S, B, C), cache with the weights (B, heads, S, S)"""
    q, k, v = split_heads(qkv, heads)  # (B, heads, S, D) each
    q = scaled(q)
    weights = ops.softmax_forward(q @ k.transpose(0, 1, 3, 2))  # a and softmax's cache
    y = (weights[0] @ v).transpose(2, 0, 1, 3)  # (S, B, heads, D)
    return y.reshape(*y.shape[:2], -1), (q, k, v, weights)


def keeping_backward(dy, cache):
    """dy (S, B, C)  ->  dqkv (S, B, 3*C)"""
    q, k, v, weights = cache
    (dy_heads,) = split_heads(dy, q.shape[1], parts=1)  # (B, heads, S, D)
    dq, dk, dv, _ = attention_backward(dy_heads, q, k, v, weights)
    dqkv = np.stack([scaled(dq), dk, dv])  # (3, B, heads, S, D)
    return dqkv.transpose(3, 1, 0, 2, 4).reshape(*dy.shape[:2], -1)


def there_and_back(forward, backward, qkv, dy):
    """A function without arguments that runs both passes."""
    return lambda: backward(dy, forward(qkv, 4)[1])


def memory_of(forward, backward, qkv, dy):
    """Megabytes kept between the passes (y and cache), and at most; and the gradient."""
    tracemalloc.start()
    passed = forward(qkv, 4)  # y and cache
    kept, _ = tracemalloc.get_traced_memory()
    dqkv = backward(dy, passed[1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept / 1e6, most / 1e6, dqkv


ways = {
    "weights kept": (keeping_forward, keeping_backward),
    "scores made again": (ops.self_attention_forward, ops.self_attention_backward),
}
for S in (16, 64, 256):
    qkv = rng.normal(size=(S, 16, 192)).astype(np.float32)  # 16 images, C = 64
    dy = rng.normal(size=(S, 16, 64)).astype(np.float32)
    runs = {name: there_and_back(*way, qkv, dy) for name, way in ways.items()}
    seconds = fastest(runs, turns=40 if S < 256 else 8)
    print(f"{S} tokens; qkv has {qkv.nbytes / 1e6:.1f} MB")
    gradients = []
    for name, way in ways.items():
        kept, most, gradient = memory_of(*way, qkv, dy)
        gradients.append(gradient)
        print(
            f"    {name:18} kept {kept:5.1f} MB, at most {most:5.1f} MB, {1000 * seconds[name]:6.1f} ms"
        )
    print(f"    the gradients differ by {abs(gradients[0] - gradients[1]).max():.0e}")

# %% [markdown]
# One product of six and one softmax are done twice, and what is kept no longer grows with $S^2$. The price is time, a product and a softmax more, in many calls on small arrays. The last column shows it for few tokens. For 256 tokens little or nothing of it was left when we measured: scores that are made again stay in the processor's cache, and scores that were kept have to be fetched from memory. *Computing again instead of keeping* is
# a trade worth knowing. It pays wherever the inputs are small and the results are large.
#
# ## Attention does not notice the order
# Shuffle the tokens of an image, so that the patches stand in other places. Does a mixing notice? To find out, shuffle the tokens, mix them, and put the results back in the old order. If the mixing did not notice, this gives the same as mixing without the shuffle.
#
# ### Exercise 14.6
# Write that. `order` is a permutation of the tokens: `x[order]` is the shuffled array, in which place $n$ holds token `order[n]`. How do you bring the results back to where their tokens came from?


# %%
def my_mixed_in_another_order(mix, x, order):
    """mix: a function from (S, B, C) to (S, B, C); x (S, B, C), order (S,)
    ->  y (S, B, C): x[order] mixed, and put back in the order of x"""
    ### BEGIN SOLUTION
    shuffled = mix(x[order])  # (S, B, C)
    y = np.empty_like(shuffled)
    y[order] = shuffled
    return y
    ### END SOLUTION


check("14.6", my_mixed_in_another_order)

# %% [markdown]
# The same with the package's layers (`np.argsort(order)` is the permutation that undoes `order`):

# %%
S, C = 9, 12
tokens, order = rng.normal(size=(S, 2, C)), rng.permutation(S)
attention = MultiHeadSelfAttention(C, heads=3, dtype="float64")
positions = PositionEmbedding(S, C, dtype="float64")
mixings = {
    "channel mixing": lambda x: ChannelMixing(C, 24, dtype="float64").forward(x)[0],
    "attention": lambda x: attention.forward(x)[0],
    "positions, then attention": lambda x: attention.forward(positions.forward(x)[0])[0],
    "token mixing": lambda x: TokenMixing(S, 24, dtype="float64").forward(x)[0],
}
for name, mix in mixings.items():
    back = mix(tokens[order])[np.argsort(order)]  # (S, B, C)
    print(f"{name:26} moves by {abs(back - mix(tokens)).max():.0e}")

# %% [markdown]
# Attention's outputs are the old ones, moved along with their tokens: it is *permutation equivariant*. The formulas say so. In $y_i = \sum_j a_{ij} v_j$ the weights depend on what the tokens hold, and nowhere on their numbers $i$ and $j$; and a sum does not care about the order of its terms. Channel mixing looks at one token
# at a time, so it does not notice either. A network of these two, with a mean over the tokens at the end, sees a *bag of patches*: which ones there are, and nothing of where.
#
# ## Position embeddings
# The cure is simple: tell each token where it stands. A **position embedding** is a learned vector for each place, added once, before the first block:
#
# $$y_{sbc} = x_{sbc} + E_{sc} ,$$
#
# with $s$ for the token, $b$ for the image and $c$ for the channel. The third line of the table above shows that this is enough to break the symmetry. (The embeddings start small, with a standard deviation of 0.02, so the outputs move only a little.)
#
# Why does a Mixer need none? Its token-mixing weights *belong* to positions: $W_{ij}$ is the weight from place $j$ to place $i$. A token's place decides which weights it meets.
#
# ### Exercise 14.7
# Write the backward pass of the sum above: the gradients with respect to $x$ and to the embedding $E$. All images share the embedding: over which axis does its gradient add up?


# %%
def my_position_embedding_backward(dy):
    """dy (S, B, C)  ->  dx (S, B, C), dembedding (S, C)"""
    ### BEGIN SOLUTION
    return dy.copy(), dy.sum(axis=1)
    ### END SOLUTION


check("14.7", my_position_embedding_backward)

# %% [markdown]
# ## A Vision Transformer beside a Mixer
# A **Vision Transformer**, ViT for short (Dosovitskiy et al. 2021, [arXiv 2010.11929](https://arxiv.org/abs/2010.11929)), is older than the Mixer and built like it, with attention in place of token mixing and with position embeddings. It usually has one more thing, a **class token**: a learned vector that is put before the patches as token 0, the same for every image. It has no pixels of
# its own; it collects from the patches by attention, and after the last block the head reads this token alone. In the package, `ops.prepend_class_token_forward` puts it there and
# `ops.take_class_token_forward` reads it. All images share the class token, so its gradient is a sum over them, like that of the embeddings (`ops.position_embedding_backward`). (A mean over the tokens, as in the Mixer, works too: `pool="mean"`.)
#
# We train three networks of about the same number of parameters on the digits: a Mixer, a ViT, and the same blocks of attention *without* positions (the package's Mixer with `tokens="attention"`, which takes a mean over the tokens instead of a class token). All three take the same steps, with three seeds each. A quarter of the training images is held back, and the accuracies are measured on these (lesson 13). The test set stays closed.

# %%
training, validation = balanced_split(digits.train_labels, share=0.25, seed=0)
statistics = {"mean": digits.mean, "std": digits.std}
sizes = {
    "image_size": 8,
    "in_channels": 1,
    "patch_size": 2,
    "hidden_dim": 32,
    "channels_mlp_dim": 64,
    "num_blocks": 2,
}


def train(model, seed, epochs=12):
    """Train the model; return its accuracy on the validation images."""
    engine = choose_engine(model, EngineOptions(threads=1))
    optimizer = AdamW(model.parameters, weight_decay=0.1)
    images, labels = digits.train_images[training], digits.train_labels[training]
    steps = len(training) // 64
    schedule = cosine(0.006, total_steps=epochs * steps, warmup_steps=steps)
    for epoch in range(epochs):
        batches = Batches(images, labels, 64, seed, epoch, **statistics)
        for step, batch in enumerate(batches):
            rate = schedule(epoch * steps + step)
            train_step(engine, optimizer, *batch, rate, label_smoothing=0.1)
    others = digits.train_images[validation], digits.train_labels[validation]
    return evaluate(engine, *others, **statistics).accuracy


contest = {
    "Mixer": (MlpMixer, MixerConfig(**sizes, tokens_mlp_dim=128)),
    "ViT": (VisionTransformer, ViTConfig(**sizes, heads=4)),
    "attention, no positions": (
        MlpMixer,
        MixerConfig(**sizes, tokens="attention", heads=4),
    ),
}
trained, epochs = {}, fewer_in_browser(12, 3)
print(f"accuracy on {len(validation)} validation images, for seeds 0, 1 and 2")
for name, (kind, config) in contest.items():
    accuracies = []
    for seed in range(3):
        model = kind(config, seed=seed)
        accuracies.append(train(model, seed, epochs))
        trained.setdefault(name, []).append(model)  # to look into
    listed = "  ".join(f"{accuracy:.1%}" for accuracy in accuracies)
    print(f"{name:24} {listed}   mean {np.mean(accuracies):.1%}")
    size = f"{config.parameter_count:,} parameters, {config.multiply_adds:,} multiply-adds"
    print(f"{'':24} {size} for an image")

# %% [markdown]
# The table says two things, and does not say a third.
#
# * Without positions the network reads a good part of the digits from the bag of patches alone. With them, attention does far better. (The class token is not the reason: with positions and a mean over the tokens we got 88.9 % on average over the same three seeds.) That is how much the embeddings are worth here.
# * The Mixer is ahead of the ViT, for each of the three seeds. Perhaps that is because the digits are centred: the same place nearly always holds the same part of a digit, and fixed weights per place suit that well. The ViT first has to learn its places.
# * It does *not* say that Mixers are better than ViTs. These are a thousand small images, one learning rate and 12 epochs. In the Mixer's paper, with hundreds of millions of photographs, the two are close, with the ViT a little ahead.
#
# ## What a head attends to
# The class token's row of $a$ says from which patches it collects: 16 numbers, which make a picture of the grid (we leave out its weight on itself). Here are the four heads in the first block of a trained ViT (seed 0), for eight digits, and below them the same heads before training.


# %%
def class_attention(model, images):
    """images (B, height, width, 1)  ->  weights from the class token to the patches in block 0,
    (B, heads, S), rows that add up to 1"""
    patches, _ = ops.images_to_patches_forward(images, model.config.patch_size)
    x, _ = model.stem.forward(patches)  # (S, B, C)
    x, _ = model.class_token.forward(x)  # (S+1, B, C)
    x, _ = model.positions.forward(x)
    x, _ = model.blocks[0].token_norm.forward(x)
    a = attention_weights(model.blocks[0].token_mixing, x)  # (B, heads, S+1, S+1)
    return a[:, :, 0, 1:] / a[:, :, 0, 1:].sum(axis=-1, keepdims=True)


vits = {
    "trained": trained["ViT"][0],
    "untrained": VisionTransformer(contest["ViT"][1], seed=0),
}
labels = digits.train_labels[validation]
shown = validation[[int(np.argmax(labels == digit)) for digit in range(8)]]
images = normalise(digits.train_images[shown], **statistics)  # (8, 8, 8, 1)
figure, axes = new_figure(9, 8, width=6.4, height=6.4)
for axis, picture in zip(axes[0], digits.train_images[shown], strict=True):
    axis.imshow(picture[:, :, 0], cmap="gray")
for block, (name, vit) in enumerate(vits.items()):
    maps = class_attention(vit, images).reshape(8, 4, 4, 4)  # (B, heads, down, across)
    for head in range(4):
        line = axes[1 + 4 * block + head]
        for axis, one in zip(line, maps[:, head], strict=True):
            axis.imshow(one, cmap="Blues", vmin=0)
        line[0].set_ylabel(f"{name}\nhead {head}", rotation=0, ha="right", va="center")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
show(
    figure,
    alt="Eight digits; below each the class token's attention over 4 by 4 patches, for four trained heads and four "
    "untrained ones. Trained heads mostly pick one or two patches, some the same for many digits; untrained heads "
    "follow the strokes or the background.",
)

# %% [markdown]
# It is tempting to say: "look, the network attends to the strokes." Then look at the untrained heads. They follow the strokes (or the background) *better*. A random query prefers some random direction, and ink is what differs most between patches. So before you believe such a map, put numbers beside it, for
# trained and untrained networks and for more than one seed. Here are two for each head: the correlation of its weights with the ink of the patches, and how large the largest of the 16 weights is, as a mean over images.

# %%
others = digits.train_images[validation]  # (359, 8, 8, 1)
ink = others.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)  # (N, S)
print("                 correlation with the ink         largest weight")
print("heads              0     1     2     3        0     1     2     3")
for seed in range(3):
    untrained = VisionTransformer(contest["ViT"][1], seed=seed)
    for name, vit in (("untrained", untrained), ("trained", trained["ViT"][seed])):
        maps = class_attention(vit, normalise(others, **statistics))  # (N, heads, S)
        with_ink = [np.corrcoef(maps[:, h].ravel(), ink.ravel())[0, 1] for h in range(4)]
        largest = maps.max(axis=-1).mean(axis=0)  # (heads,)
        numbers = "".join(f"{one:6.2f}" for one in with_ink) + "   "
        numbers += "".join(f"{one:6.2f}" for one in largest)
        print(f"seed {seed} {name:9}{numbers}")

# %% [markdown]
# So this is what training changed, with each of the three seeds: the heads became *sharper*, so that about half of the weight lies on a single patch; and most of them follow the ink *less* than before. They seem to look for something more special than ink. It is the habit of lesson 12: whatever you see in a network, look for it in an untrained one.
#
# ## Another number of tokens
# A larger image has more patches. The parameters of attention are Linears over channels. Their shapes do not depend on $S$, so the same layer mixes any number of tokens. Token mixing has a row and a column per token:

# %%
attention, mixing = MultiHeadSelfAttention(32, heads=4), TokenMixing(16, 128)
for S in (16, 25, 400):
    x = np.zeros((S, 1, 32), np.float32)  # (S, B, C)
    for layer in (attention, mixing):
        try:
            said = f"gives {layer.forward(x)[0].shape}"
        except ShapeError as error:
            said = f"refuses: {error}"
        print(f"{S:3} tokens: {type(layer).__name__} {said}")

# %% [markdown]
# This is the price of weights that belong to positions: a Mixer that was trained with one number of tokens cannot simply be used with another. It has to be fitted to the new grid first. A ViT is freer, but not entirely free: its position embeddings are a vector per place. But these are only $S \cdot C$ numbers, and when they are trained on enough images they vary smoothly over the grid,
# so that interpolating them usually works. `tinymixer/models/resolution.py` fits both networks to another grid.
#
# **Try it.** (1) Train the ViT with `heads=1` and with `heads=8`. What happens to the number of parameters, to the time, to the accuracy? (2) Give the ViT `pool="mean"`. (3) Shuffle the patches of all images in one fixed order and train again: which of the three networks minds?

# %% [markdown] tags=["solution"]
# **About the questions.** (1) The parameters stay the same: the heads divide the same $C$ channels. More heads mean more softmax, so more time. With one head the accuracy is several points lower: 80.9 % on average over six seeds, with a standard deviation of 3.9, where four heads have 89.4 % (1.6) and eight 89.9 % (2.4). One way of looking around is too few; whether eight are better than four, this does not tell.
# (2) Nothing that we could tell from chance: 87.9 % over the same six seeds, with a standard deviation of 2.7. (3) None of them minds. With one order we measured 96.8 %, 89.5 % and 67.3 % over three seeds. The Mixer's weights and the ViT's embeddings begin at random, so no order is better than another for them; and without positions there is no order at all, so the last number is exactly the one above.

# %% [markdown]
# ## Questions
#
# **1.** All scores of a token are equal. What is its output?
#
# <details><summary>Answer</summary>
#
# The mean of all values. Equal scores give equal weights, and these add up to 1, so each is $1/S$. How large the scores are does not matter, only how much they differ.
#
# </details>
#
# **2.** `qkv` has the shape `(64, 32, 192)`, and there are 4 heads. Which shape do the queries have after the heads are split, and which the scores of the batch? How many megabytes are the scores in float32?
#
# <details><summary>Answer</summary>
#
# $S = 64$, $B = 32$, $C = 192/3 = 64$, so $D = 16$: queries `(32, 4, 64, 16)`, scores `(32, 4, 64, 64)`. Those are 524,288 numbers of 4 bytes, 2.1 MB: four times as much as the queries, because $S$ is four times $D$.
#
# </details>
#
# **3.** You train a ViT and find that the gradient of the *keys'* bias, the middle third of `bias_qkv`, is zero, but for rounding, in every step. Is that a fault?
#
# <details><summary>Answer</summary>
#
# No. A bias $b$ in all keys adds $q_i \cdot b$ to all scores of row $i$, the same number for every $j$, and softmax does not notice a number that is added to a whole row. The loss is flat in that direction. (The biases of queries and values do get gradients.)
#
# </details>
#
# **4.** The images become twice as high and twice as wide, with patches of the same size. What happens to the multiply-adds of token mixing ($D_S$ stays), to those of attention's Linears, to those of its pairs, and to the parameters of both?
#
# <details><summary>Answer</summary>
#
# $S$ grows four times. Token mixing $2 S D_S C$ and the Linears $4 S C^2$ cost four times as much, the pairs $2 S^2 C$ sixteen times, and the scores take sixteen times the memory. Token mixing's weights, $2 S D_S$, grow four times (and are new ones); attention keeps the parameters it has.
#
# </details>
#
# **5.** A colleague has left the position embeddings out of a ViT, and is surprised that the training loss still falls. Explain why it falls, why it stops early, and why the same network with token mixing would not have the problem.
#
# <details><summary>Answer</summary>
#
# The patches themselves tell much: how much ink there is, how many corners or straight pieces. From that, some of the images can be told apart, so the loss falls. But images whose patches are the same in another arrangement give the same logits, whatever the weights are, and training cannot
# separate them. Token mixing has a weight for each pair of places, so where a patch stands decides by which weights it is multiplied.
#
# </details>

# %% [markdown]
# ## What you have now
#
# | | token mixing | attention |
# |---|---|---|
# | mixes with | learned weights, one per pair of places | weights computed from the tokens, rows that add up to 1 |
# | multiply-adds | $2\,S\,D_S\,C$ | $4\,S\,C^2 + 2\,S^2\,C$ |
# | parameters | grow with $S$ | do not depend on $S$ |
# | where a token stands | it knows | it must be told: position embeddings |
# | another number of tokens | its weights must be fitted | works (the embeddings must be fitted) |
#
# The backward pass of attention: `dv = a.T @ dy`, `da = dy @ v.T`, `ds = a * (da - sum(da * a))` along each row, `dq = ds @ k / sqrt(D)`, `dk = ds.T @ q / sqrt(D)`.
#
# And the way of thinking of lesson 05 once more: softmax does not notice a number added to a whole row, so its gradient adds up to zero along it.
#
# **Where the package does this:** `tinymixer/ops/softmax.py`, `tinymixer/ops/self_attention.py` (both passes, in heads and for a few images at a time), `tinymixer/ops/position_embedding.py`, `tinymixer/ops/class_token.py`, `tinymixer/layers/attention.py` (the layers), `tinymixer/models/vit.py` (the whole ViT; in the Mixer, `tokens="attention"`),
# `tinymixer/gradcheck/planted_faults/attention.py` (what a gradient check must catch). `docs/vit.md` tells how to train one from the command line.
#
# Next: [lesson 15, convolutions](15_convolutions.ipynb).
