"""Hints: wrong answers as learners write them get one that names the mistake, none gets one that is wrong.

python -m tests.lessons.hint_table prints the table of all of them by exercise.
"""

import time
from collections import Counter

import numpy as np
import pytest

from tests.lessons.learners import functions_of, wrong_answers
from tinymixer.lessons.exercise import all_exercises
from tinymixer.lessons.grading import examine
from tinymixer.lessons.hints import repairs

ANSWERS = wrong_answers()
LESSONS = list(dict.fromkeys(answer.number.partition(".")[0] for answer in ANSWERS))


def verdict_on(number, source):
    return examine(number, *functions_of(number, source, "<an answer>"))


@pytest.mark.parametrize("lesson", LESSONS)
def test_wrong_answers_get_the_hints_that_were_judged_right_for_them(lesson, monkeypatch):
    faults = []
    for answer in ANSWERS:
        if answer.number.partition(".")[0] == lesson and not answer.long:
            # Where no hint is known, all changes would be tried in vain, which takes long: a few must do.
            monkeypatch.setattr(repairs, "SECONDS", 0.02 if answer.words == "-" else 2.0)
            faults.append(answer.fault())
    assert not any(faults), "\n".join(filter(None, faults))


def test_every_exercise_has_wrong_answers_and_most_of_them_are_named():
    counted = Counter(answer.number for answer in ANSWERS)
    too_few = [exercise.number for exercise in all_exercises() if counted[exercise.number] < 2]
    assert not too_few, f"fewer than two: {too_few}"
    named = sum(answer.words != "-" for answer in ANSWERS)
    assert named / len(ANSWERS) >= 0.85, f"{named} of {len(ANSWERS)}"


PATCHES = "B, height, width, channels = images.shape\n    down, across = height // P, width // P\n    "
NUMERICAL = """def my_numerical_gradient(forward, x, dy, h=1e-5):
    dx = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        dx[index] = np.sum(dy * (forward(x + step)[0] - forward(x - step)[0])) / (2 * h)
    return dx.astype(np.float32)
"""
MISLED = [  # number, answer, words of the hint, words that once misled
    ("0.3", "def my_accuracy(logits, labels):\n    return (logits.argmax(axis=1) == labels).sum() // len(labels)",
     "divides with //", "one long row"),
    ("2.1", "def my_linear_forward(x, weight, bias):\n    return (x @ weight + bias)[None]",
     "an axis of length 1", "sum"),
    ("2.2", "def my_bias_gradient(dy):\n    return dy.sum(axis=0, keepdims=True)",
     "keepdims=True leaves", "sum missing"),
    ("2.2", "def my_bias_gradient(dy):\n    return dy.sum(axis=0),", "a tuple of one", "sum missing"),
    ("2.3", "def my_linear_backward(dy, cache):\n    x, weight = cache\n"
     "    return dy @ weight.T, x.T @ dy, dy.sum(axis=0, keepdims=True)", "keepdims=True leaves", "missing in dbias"),
    ("8.2", "def my_token_mixing_backward(dy, cache):\n    x, weight = cache\n"
     "    dy, x = dy.swapaxes(1, 2), x.swapaxes(1, 2)\n"
     "    dx, dweight, dbias = ops.linear_backward(dy, (x, weight))\n    return dx.swapaxes(1, 2), dweight, (dbias,)",
     "a tuple of one", "sum"),
    ("2.1", "def my_linear_forward(x, weight, bias):\n    return (x @ weight + bias).astype(np.float32)",
     "float32 where float64 is asked for", "np.sqrt(2)"),
    ("3.3", NUMERICAL, "float32 where float64 is asked for", "np.sqrt(2)"),
    ("4.4", "def my_gelu_tanh(x):\n    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)\n"
     "    return (0.5 * x * (1 + np.tanh(u))).astype('float32')", "float32 where float64 is asked for", "np.sqrt(2)"),
    ("8.1", "def my_token_mixing_forward(x, weight, bias):\n    return np.stack([weight @ one @ bias for one in x])",
     "`weight @ one`: weight is (4, 5), one is (4, 3)", ".T"),
    ("8.5", "def my_token_mixing_mlp_forward(x, weight1, bias1, weight2, bias2):\n"
     "    h = ops.token_linear_forward(x, weight1, bias1)\n    h, _ = ops.gelu_tanh_forward(h)\n"
     "    return ops.token_linear_forward(h, weight2, bias2)[0]", "h is not an array but a pair", "GELU between"),
    ("5.4", "def my_layer_norm_backward(dy, cache):\n    x_hat, inv_std, scale = cache\n    g = dy * scale\n"
     "    mean = g.mean(-1, keepdims=True)\n"
     "    dx = inv_std * (g - mean - x_hat * mean * x_hat.mean(-1, keepdims=True))\n"
     "    return dx, (dy * x_hat).sum((0, 1)), dy.sum((0, 1))",
     "A product of means is not a mean of products", "factor"),
    ("9.3", "def my_mean_over_tokens_backward(dy, shape):\n    dx = np.zeros(shape)\n    dy / shape[0]\n    return dx",
     "nothing is ever written into it", "Everything is zero"),
    ("13.1", "def my_split(labels, share, seed):\n    order = np.random.default_rng(seed).permutation(labels)\n"
     "    count = round(share * len(labels))\n    return order[count:], order[:count]",
     "The labels of the images came back", "twice"),
    ("14.6", "def my_mixed_in_another_order(mix, x, order):\n    return mix(x[order])[(order + 1) % len(order)]",
     "slices along axis 0 of y are right", "reshape"),
    ("14.4", "def my_split_heads(x, heads):\n    S, B, C = x.shape\n"
     "    return x.reshape(S, B, heads, C // heads).transpose(1, 2, 0, 3)\n\n"
     "def my_merge_heads(dy):\n    B, heads, S, D = dy.shape\n"
     "    return dy.transpose(2, 0, 1, 3).reshape(S, B, D)", "The variable heads is used nowhere", "True"),
    ("15.6", "def my_receptive_field(layers):\n    r, step = 1, 1\n    for t, k in layers:\n"
     "        r += (k - 1) * step\n        step *= t\n    return r",
     "The parts of `(t, k)` stand in another order", "factor"),
    ("15.3", "def my_kernel_gradient(dy, columns, kh, kw):\n"
     "    y, cache = ops.convolution_forward(columns, dy)\n    return y, dy",
     "message says what is expected", "Two shapes do not fit"),
    ("15.4", "def my_add_windows_back(dcolumns, shape, stride, padding):\n    dx = np.zeros((3, 5))\n"
     "    dx[:2] += np.ones((3, 4))\n    return dx", "the shapes (2, 5) and (3, 4) meet", "two shapes do not fit. Two"),
    ("15.2", "def my_im2col(x, kh, kw, stride, padding):\n    columns = np.zeros((len(x), 2, 2, 5))\n"
     "    columns[0, 0] = np.zeros((1, 7))\n    return columns",
     "`columns[0, 0]`: an array of shape (1, 7) is to be written into a place of shape (2, 5)", "factor"),
    ("14.4", "def my_split_heads(x, heads):\n    S, B, C = x.shape\n    return x.reshape(S, B, heads, C / heads)\n\n"
     "def my_merge_heads(dy):\n    return dy", "C / heads is the number 4.0", "is the number 4,"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "source", "words", "misleading"), MISLED)
def test_what_once_misled_does_so_no_more(number, source, words, misleading):
    verdict = verdict_on(number, source)
    assert words in verdict.hint, str(verdict)
    assert misleading not in verdict.hint.replace(words, "")


PASSED_ONCE = {
    "3.4": "def my_relative_error(expected, got):\n"
    "    return np.max(abs(expected - got) / np.maximum(np.maximum(abs(expected), abs(got)), 1e-3))",
    "3.5": "def my_directional_check(forward, backward, x, dy, direction, h=1e-5):\n"
    "    change = forward(x + h * direction)[0] - forward(x - h * direction)[0]\n"
    "    return np.sum(backward(dy, forward(x)[1]) * direction), np.sum(dy * change) / (2 * h)",
    "11.5": "def my_bias_gelu_thread(block, thread, threads_per_block, x, bias, y):\n"
    "    i = block * threads_per_block + thread\n    if i < len(x):\n        y[i] += gelu(x[i] + bias[i % len(bias)])",
    "0.1": "def my_pixels_to_numbers(images):\n    return [image.astype(np.float32) / 255 for image in images]",
    "2.1": "def my_linear_forward(x, weight, bias):\n    return [row @ weight + bias for row in x]",
    "10.1": "def my_sgd_step(weights, gradient, learning_rate):\n    return list(weights - learning_rate * gradient)",
    "16.6": "def my_newton_schulz_step(x, a, b, c):\n    x = x / np.sqrt(np.sum(x * x))\n    g = x @ x.T\n"
    "    return (b * g + c * g @ g) @ x + a * x",
    "16.7": "def my_sam_gradient(gradient_of, weights, rho):\n    g = gradient_of(weights)\n    n = np.linalg.norm(g)\n"
    "    return gradient_of(weights + rho * g / n) if n > 0 else weights",
    "17.7": "def my_start(trained, fresh):\n"
    "    return {n: np.zeros_like(a) if 'head' in n else trained[n] for n, a in fresh.items()}",
}


@pytest.mark.parametrize("number", PASSED_ONCE)
def test_a_fault_that_passed_once_is_refused_with_its_name(number):
    verdict = verdict_on(number, PASSED_ONCE[number])
    assert verdict.state == "wrong"
    assert verdict.known, str(verdict)


UNUSUAL = {  # right, whatever it looks like
    "0.1": "def my_pixels_to_numbers(images):\n    return np.multiply(images, np.float32(1 / 255), dtype='float32')",
    "0.2": "def my_one_hot(labels, classes):\n    return labels[:, None] == np.arange(classes)",
    "0.3": "def my_accuracy(logits, labels):\n    return sum(map(int, logits.argmax(1) == labels)) / labels.size",
    "1.3": "def my_tokens_first(x):\n    return np.einsum('bsc->sbc', x)",
    "2.2": "def my_bias_gradient(dy):\n    return np.ones(len(dy)) @ dy",
    "2.3": "def my_linear_backward(dy, cache):\n    x, weight = cache\n"
    "    return [np.einsum('bo,io->bi', dy, weight), np.einsum('bi,bo->io', x, dy), sum(dy)]",
    "3.2": "def my_complex_step(f, x):\n    return f(x + 1e-50j).imag * 1e50",
    "4.5": "def my_frugal_backward(dy, cache):\n    x, t = cache\n"
    "    slope = 0.5 * x * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)\n"
    "    slope = slope * (1 - t * t)\n    slope = slope + 0.5 * (1 + t)\n    return slope * dy",
    "6.2": "def my_cross_entropy(logits, labels):\n    top = logits.max(axis=1, keepdims=True)\n"
    "    lse = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))\n"
    "    return np.mean(lse - logits[np.arange(len(labels)), labels])",  # (B, B), with the same mean
    "7.2": f"def my_images_to_patches(images, P):\n    {PATCHES}"
    "return np.array([images[:, i:i + P, j:j + P].reshape(B, -1)\n"
    "        for i in range(0, height, P) for j in range(0, width, P)])",
    "9.3": "def my_mean_over_tokens_backward(dy, shape):\n    return np.stack([dy / shape[0]] * shape[0])",
    "10.4": "def my_epoch_batches(count, batch_size, generator):\n    full = count // batch_size\n"
    "    return generator.permutation(count)[: full * batch_size].reshape(full, batch_size).tolist()",
    "16.1": "def my_mixup(images, labels, share, shift, classes):\n    mix = share * np.eye(len(images))\n"
    "    mix = (mix + (1 - share) * np.roll(np.eye(len(images)), shift, axis=1)).astype(images.dtype)\n"
    "    return np.einsum('bc,chwk->bhwk', mix, images), mix @ np.eye(classes, dtype=images.dtype)[labels]",
    "16.2": "def my_mixed_loss(logits, labels, partner_labels, share):\n    z = logits - logits.max(1, keepdims=True)\n"
    "    log_p, one = z - np.log(np.exp(z).sum(1, keepdims=True)), np.eye(logits.shape[1], dtype=logits.dtype)\n"
    "    t = share * one[labels] + (1 - share) * one[partner_labels]\n"
    "    return -(t * log_p).sum() / len(t), (np.exp(log_p) - t) / len(t)",
    "16.3": "def my_cutmix_box(share, row, column, height, width):\n    edges, kept = [], 1.0\n"
    "    for centre, length in ((row, height), (column, width)):\n        size = round((1 - share) ** 0.5 * length)\n"
    "        edges += np.clip([centre - size // 2, centre - size // 2 + size], 0, length).tolist()\n"
    "    kept = (edges[1] - edges[0]) * (edges[3] - edges[2]) / height / width\n    return [*edges, 1 - kept]",
    "16.5": "def my_average(start, weights, decay):\n    n = np.arange(1, len(weights) + 1)\n"
    "    left = np.cumprod(np.minimum(decay, n / (n + 50)))\n    out = []\n    for k in range(len(n)):\n"
    "        d = left[: k + 1] / np.append(1.0, left[:k])\n"
    "        out.append(left[k] * start + ((1 - d) * left[k] / left[: k + 1]) @ weights[: k + 1])\n"
    "    return np.array(out).astype(start.dtype), left",
    "16.6": "def my_newton_schulz_step(x, a, b, c):\n    u, s, vt = np.linalg.svd(x, full_matrices=False)\n"
    "    return (u * (a * s + b * s**3 + c * s**5)) @ vt",
    "17.1": "def my_sizes(shapes):\n    L = 0\n"
    "    while f'MixerBlock_{L}/LayerNorm_0/scale' in shapes:\n        L += 1\n"
    "    P, C = shapes['stem/kernel'][0], shapes['stem/bias'][0]\n    mixing = 'MixerBlock_0/{}_mixing/Dense_{}/bias'\n"
    "    (S,), (DS,), (DC,) = (shapes[mixing.format(*w)] for w in (('token', 1), ('token', 0), ('channel', 0)))\n"
    "    return P * np.sqrt(S), P, C, DS, DC, L, sum(int(np.prod(s)) for s in shapes.values())",
    "17.3": "def my_in_order(logits, names, wanted):\n"
    "    return logits @ np.array([[n == w for w in wanted] for n in names], logits.dtype)",
    "17.4": "def my_interval(correct, images):\n    z2 = 1.96**2\n"
    "    root = math.sqrt(z2 * correct * (images - correct) / images + z2 * z2 / 4)\n"
    "    return [(correct + z2 / 2 + sign * root) / (images + z2) for sign in (-1, 1)]",
    "17.5": "def my_parts(height, width, K):\n    n = np.arange(K * height * K * width).reshape(K * height, -1)\n"
    "    return np.stack([part.ravel() for band in np.vsplit(n, K) for part in np.hsplit(band, K)])",
    "17.6": "def my_block_diagonal(weight1, weight2, grid, K):\n    n = np.arange(K * K * grid[0] * grid[1])\n"
    "    place = n.reshape(K, grid[0], K, grid[1]).transpose(0, 2, 1, 3).ravel().argsort()\n"
    "    eye = np.eye(K * K, dtype=weight1.dtype)\n"
    "    return np.kron(eye, weight1)[:, place], np.kron(eye, weight2)[place]",
    "17.7": "def my_start(trained, fresh):\n    head = ('head.weight', 'head.bias')\n"
    "    return trained | {name: 0 * fresh[name] for name in head}",
    "11.4": "def my_blocks(size, threads_per_block):\n    return -(-size // threads_per_block)",
    "13.4": "def my_early_stop(losses, patience):\n    best = 0\n    for epoch, loss in enumerate(losses):\n"
    "        if loss < losses[best]:\n            best = epoch\n"
    "        if epoch - best >= patience:\n            break\n"
    "    return best, epoch",
}


@pytest.mark.parametrize("number", UNUSUAL)
def test_a_right_answer_passes_however_it_is_written(number):
    assert verdict_on(number, UNUSUAL[number]).passed, str(verdict_on(number, UNUSUAL[number]))


def test_a_detector_is_silent_where_it_explains_some_inputs_only():
    def sometimes_transposed(dy, cache):
        x, weight = cache
        dweight = (dy.T @ x) if len(x) == 4 else x.T @ dy * 3
        return (lambda *parts: parts)(dy @ weight.T, dweight, dy.sum(axis=0))

    assert not examine("2.3", sometimes_transposed).known

    def negative_for_one(dy):
        return [-1, 5][len(dy) > 1] * dy.sum(axis=0) + (len(dy) > 1)

    assert "sign" not in examine("2.2", negative_for_one).hint


def test_numbers_in_other_places_are_blamed_on_a_reshape_only_where_there_is_one():
    source = (
        "def my_tokens_first(x):\n    images, tokens, channels = x.shape\n"
        "    return x.transpose(2, 0, 1).reshape(channels, tokens, images).transpose(1, 2, 0)"
    )
    assert "a reshape keeps the order in memory" in verdict_on("1.3", source).hint
    elsewhere = examine("1.3", lambda x: np.roll(x.transpose(1, 0, 2), 1))
    assert "at which indices does it stand" in elsewhere.hint
    assert "reshape" not in elsewhere.hint


def test_whole_numbers_in_another_order_may_be_a_numbering_and_get_no_hint_about_their_places():
    assert "places" not in examine("10.4", lambda count, size, generator: [list(range(size))[::-1]]).hint
    assert "places" not in examine("13.1", lambda labels, share, seed: np.split(np.arange(len(labels)), [9])).hint


def test_trying_changes_leaves_the_learners_function_and_names_alone():
    source = "COUNT = [0]\ndef my_bias_gradient(dy):\n    global total\n    total = 1\n    return dy.sum(axis=0) * 3\n"
    (function,) = functions_of("2.2", source, "<an answer>")
    code = function.__code__
    assert "the 3 does not belong" in examine("2.2", function).hint
    assert function.__code__ is code
    assert "__limited__" not in function.__globals__


def test_a_change_whose_loop_would_not_end_is_ended():
    source = (
        "def my_bias_gradient(dy):\n    total, n = 0 * dy[0], 0\n    while n < len(dy):\n"
        "        total += dy[n]\n        n += 1\n    return total / len(dy) + 7\n"
    )
    assert verdict_on("2.2", source).state == "wrong"  # among the changes is one without the n += 1


def test_a_list_never_becomes_its_own_element():
    source = (
        f"def my_images_to_tokens(images, P):\n    {PATCHES}tokens = []\n    for top in range(0, height, P):\n"
        "        tokens.append(images[:, top : top + P, 0:P, 0].reshape(B, -1))\n    return np.stack(tokens)\n"
    )
    assert verdict_on("1.4", source).state == "wrong"


def test_a_helper_of_the_learners_own_is_looked_into():
    source = (
        "def total(rows):\n    return rows.max(axis=0)\n\n\ndef my_bias_gradient(dy):\n    return 1.0 * total(dy)\n"
    )
    assert "`rows.max(axis=0)` takes max" in verdict_on("2.2", source).hint


def test_an_answer_whose_source_is_gone_gets_its_hint_from_the_numbers():
    assert "sign" in examine("2.2", lambda dy: -dy.sum(axis=0)).hint
    assert "twice what it should be" in examine("2.2", lambda dy: 2 * dy.sum(axis=0)).hint
    assert "whatever bias holds" in examine("2.1", lambda x, weight, bias: np.tanh(x @ weight)).hint
    assert "the length of axis 1 of dy" in examine("2.2", lambda dy: dy.sum(axis=0) * dy.shape[1]).hint


def test_a_change_that_makes_numbers_grow_without_end_is_given_up():
    """With 15 or 17 in place of 16 the loop squares its number for ever, and each round takes longer than the last."""
    source = (
        "def my_accuracy(logits, labels):\n    size = 2\n    while size != 16:\n        size = size * size\n"
        "    return size + np.mean(logits.argmax(axis=1) == labels)"
    )
    started = time.process_time()
    assert verdict_on("0.3", source).state == "wrong"
    assert time.process_time() - started < 10


def test_no_change_is_tried_on_an_answer_that_writes_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = (
        "def my_accuracy(logits, labels):\n    np.save('accuracy' + '.npy', 1 + len(labels))\n"
        "    return 1 - np.mean(logits.argmax(axis=1) == labels)"
    )
    assert verdict_on("0.3", source).state == "wrong"
    assert {path.name for path in tmp_path.iterdir()} <= {"accuracy.npy"}
