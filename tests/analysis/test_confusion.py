"""The confusion matrix, its figures per class, and its picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from tinymixer.analysis.confusion_picture import MOST_WRITTEN_CLASSES, draw_confusion, save_confusion
from tinymixer.analysis.curves import INK
from tinymixer.analysis.per_class import class_results, confusion_matrix
from tinymixer.errors import CheckpointError, ShapeError

ANSWERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=60)
NAMES = ["ant", "bee", "cat", "dog", "elk"]


@given(ANSWERS)
def test_each_cell_counts_its_pair(answers):
    labels, predictions = np.array(answers, dtype=np.int64).reshape(-1, 2).T  # (N,), (N,)
    confusion = confusion_matrix(labels, predictions, 5)
    assert confusion.shape == (5, 5)
    for label in range(5):
        for prediction in range(5):
            assert confusion[label, prediction] == answers.count((label, prediction))


@given(ANSWERS)
def test_figures_per_class_are_those_of_their_definitions(answers):
    labels, predictions = np.array(answers, dtype=np.int64).reshape(-1, 2).T  # (N,), (N,)
    results = class_results(confusion_matrix(labels, predictions, 5), NAMES)
    for k, result in enumerate(results):
        correct = answers.count((k, k))
        images, predicted = sum(label == k for label, _ in answers), sum(guess == k for _, guess in answers)
        assert (result.name, result.images, result.correct) == (NAMES[k], images, correct)
        assert result.recall == (correct / images if images else None)
        assert result.precision == (correct / predicted if predicted else None)
        assert result.f1 == (2 * correct / (images + predicted) if images + predicted else None)
        mistakes = [answers.count((k, other)) for other in range(5) if other != k]
        assert result.mistakes == max(mistakes)
        assert bool(result.mistaken_for) == (result.mistakes > 0)
        if result.mistaken_for:
            assert answers.count((k, NAMES.index(result.mistaken_for))) == result.mistakes


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="one shape"):
        confusion_matrix(np.zeros(3, int), np.zeros(4, int), 2)
    with pytest.raises(ShapeError, match="predictions from 0 to 1, got 0 to 2"):
        confusion_matrix(np.array([0, 1]), np.array([0, 2]), 2)
    with pytest.raises(ShapeError, match="for 2 names"):
        draw_confusion(np.zeros((3, 3), int), ["a", "b"])


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_picture_names_classes_counts_and_shares():
    figure = draw_confusion(np.array([[199, 1], [0, 0]]), ["cat", "a class with a long name"], "cats")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "a class wit..."]
    assert axes.get_title() == "cats"
    assert {"199", "99.5%", "1", "0.5%"} <= set(texts(figure))
    assert "100%" in texts(figure)  # the precision of "cat"
    assert "-" in texts(figure)  # the recall of a class without images
    assert texts(figure).count("0") == 0  # empty cells stay empty


def test_many_classes_are_colours_alone():
    classes = MOST_WRITTEN_CLASSES + 1
    assert texts(draw_confusion(np.eye(classes, dtype=int), [f"class {k}" for k in range(classes)])) == []


def test_everything_is_legible_on_a_white_and_on_a_black_page():
    random = np.random.default_rng(0)
    figure = draw_confusion(random.integers(0, 100, (10, 10)), [str(k) for k in range(10)])
    cells = figure.axes[0].collections[0].get_facecolor()  # (K*K, 4)
    assert min(contrast(to_rgb("black"), cell[:3]) for cell in cells if cell[3] == 1) > 4.5
    assert contrast(to_rgb(INK), (1, 1, 1)) > 3
    assert contrast(to_rgb(INK), (0, 0, 0)) > 3
    assert figure.get_facecolor()[3] == 0


def contrast(one, other):
    """The contrast ratio of two colours, as WCAG 2 defines it: 4.5 is enough for small print, 3 for large."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_saving_leaves_a_picture_or_what_was_there(tmp_path):
    path = save_confusion(np.eye(2, dtype=int), ["a", "b"], tmp_path / "matrix.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CheckpointError, match="could not be saved"):
        save_confusion(np.eye(2, dtype=int), ["a", "b"], tmp_path / "missing" / "matrix.png")
    assert [file.name for file in tmp_path.iterdir()] == ["matrix.png"]
