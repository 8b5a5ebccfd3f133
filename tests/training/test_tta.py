"""Test-time augmentation in evaluation and predictions: on every engine, with models of ours and of others."""

import numpy as np
import pytest
from PIL import Image

import tinymixer
from tests.engines.own_models import CONFIG, with_relu
from tests.layers.running_mean import CentredModel
from tests.parallel.thread_ranks import on_ranks
from tests.pretrained.files import pretrained, small
from tests.shaken import shaken
from tinymixer.data import normalise
from tinymixer.data.views import TTA
from tinymixer.engines import EngineOptions, choose_engine
from tinymixer.errors import ConfigError
from tinymixer.models import MixerConfig
from tinymixer.training import evaluate, load_run
from tinymixer.training.evaluate import predict_log_probabilities
from tinymixer.training.folder_accuracy import labelled_pictures, measure_folder

MEAN, STD = np.array([0.4]), np.array([0.3])
GREY = np.random.default_rng(0).integers(0, 256, (21, 8, 8, 1)).astype(np.uint8)
LABELS = np.arange(21) % 10
KINDS = ("mirror", "shift", "all")


def by_hand(model, images, kind, mean=MEAN, std=STD):
    """Probabilities (N, K): the softmax of the mean logits of views that are cut out by hand."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    here, up_left, down_right = (padded[:, i : i + 8, i : i + 8] for i in (1, 2, 0))
    views = [here, here] if kind == "mirror" else [here, here, up_left, down_right]
    if kind == "mirror":
        views[1] = here[:, :, ::-1]
    if kind == "all":
        views = [turned for view in views for turned in (view, view[:, :, ::-1])]
    logits = np.mean([model.forward(normalise(view, mean, std, "float64"))[0] for view in views], axis=0)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_results_with_tta_come_apart_and_equal_those_by_hand(engine, kind):
    model = shaken(CONFIG, "float64")
    computed = choose_engine(model, EngineOptions(engine=engine, threads=2, slice_images=4))
    plain = evaluate(computed, GREY, LABELS, MEAN, STD, batch_size=8)
    both = evaluate(computed, GREY, LABELS, MEAN, STD, batch_size=8, tta=kind)
    assert plain.with_tta is None
    assert (both.loss, both.accuracy) == (plain.loss, plain.accuracy)
    np.testing.assert_array_equal(both.probabilities, plain.probabilities)
    expected = by_hand(model, GREY, kind)
    found = both.with_tta
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-9)
    assert np.abs(expected - plain.probabilities).max() > 1e-3  # the views differ
    assert found.accuracy == np.mean(expected.argmax(axis=1) == LABELS)
    assert found.loss == pytest.approx(-np.mean(np.log(expected[np.arange(21), LABELS])), rel=1e-9)
    assert found.with_tta is None


def test_colour_images_chosen_by_index_and_the_model_of_somebody_else():
    generator = np.random.default_rng(1)
    images, chosen = generator.integers(0, 256, (9, 8, 8, 3)).astype(np.uint8), np.array([7, 0, 3, 3])
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.4])
    model = with_relu(MixerConfig(**CONFIG.to_dict() | {"in_channels": 3}), dtype="float64", seed=1)
    model.parameters.values[...] += generator.normal(0, 0.1, model.parameters.values.shape)
    found = predict_log_probabilities(model, images, mean, std, 3, indices=chosen, tta="all")
    np.testing.assert_allclose(np.exp(found), by_hand(model, images, "all", mean, std)[chosen], rtol=1e-9)


class BrightestPixel(CentredModel):
    """Sees the brightest pixel alone, so neither mirroring nor, with a dark border, a shift changes its logits."""

    def forward(self, images, train=False, rng=None):
        brightest = np.max(images, axis=(1, 2), keepdims=True)  # (B, 1, 1, channels)
        return super().forward(np.broadcast_to(brightest, images.shape).copy(), train, rng)


def same(evaluation):
    np.testing.assert_array_equal(evaluation.with_tta.probabilities, evaluation.probabilities)
    assert evaluation.with_tta.loss == evaluation.loss


def test_where_the_views_mean_the_same_the_results_are_equal_to_the_bit():
    dark = np.zeros((6, 4, 4, 1), np.uint8)
    dark[:, 1:3, 1:3] = GREY[:6, :2, :2]
    labels = LABELS[:6] % 3
    same(evaluate(BrightestPixel(seed=2), dark, labels, MEAN, STD, tta="all"))
    model = shaken(CONFIG, "float32")
    symmetric = np.maximum(GREY, GREY[:, :, ::-1])
    same(evaluate(model, symmetric, LABELS, MEAN, STD, tta="mirror"))
    plain_colours = np.broadcast_to(GREY[:, :1, :1], GREY.shape)
    same(evaluate(model, plain_colours, LABELS, MEAN, STD, tta="all"))


def test_ranks_share_the_images_out_and_stop_together():
    engine = choose_engine(shaken(CONFIG, "float64"), EngineOptions(engine="reference"))
    expected = evaluate(engine, GREY, LABELS, MEAN, STD, 4, tta="shift")
    for found in on_ranks(2, lambda ranks: evaluate(engine, GREY, LABELS, MEAN, STD, 4, ranks=ranks, tta="shift")):
        np.testing.assert_allclose(found.with_tta.probabilities, expected.with_tta.probabilities, rtol=1e-12)

    def stopped_at_the_second_view(ranks):
        asked = iter(range(100))
        return evaluate(
            engine, GREY, LABELS, MEAN, STD, 11, lambda: ranks.rank == 1 and next(asked) == 1, None, ranks, "shift"
        )

    assert on_ranks(2, stopped_at_the_second_view) == [None, None]


def test_predictions_say_what_they_were_made_with():
    run, loaded = load_run("first-mixer"), tinymixer.load_weights("first-mixer")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    plain = run.predict(picture)
    assert plain.tta == "none"
    assert "augmentation" not in repr(plain)
    for kind in ("mirror", "all"):
        found = run.predict(picture, tta=kind)
        assert found.tta == kind
        assert f"; test-time augmentation: {kind})" in repr(found)
        assert np.abs(found.probabilities - plain.probabilities).max() > 1e-4
        assert found.probabilities.sum() == pytest.approx(1)
        also = loaded.predict(picture, tta=kind)
        assert also.tta == kind
        np.testing.assert_allclose(also.probabilities, found.probabilities, atol=1e-6)
    turned = picture[:, ::-1].copy()
    there, back = (run.predict(each, tta="mirror").probabilities for each in (picture, turned))
    np.testing.assert_allclose(there, back, atol=1e-6)
    assert np.abs(run.predict(turned).probabilities - plain.probabilities).max() > 1e-4
    assert (loaded.trained_with_flips, pretrained(small()).trained_with_flips) == (True, None)


def test_folders_of_pictures(tmp_path):
    generator = np.random.default_rng(3)
    for name in ("0", "3"):
        (tmp_path / name).mkdir()
        for number in range(2):
            pixels = generator.integers(0, 256, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    loaded = pretrained(small())
    pictures = labelled_pictures(loaded, tmp_path)
    plain, both = measure_folder(loaded, pictures), measure_folder(loaded, pictures, tta="all")
    assert plain.with_tta is None
    assert (both.top1, both.loss, both.confusions) == (plain.top1, plain.loss, plain.confusions)
    answers = loaded.predict_many([path for path, _ in pictures], tta="all")
    shares = [answer.probabilities[label] for answer, (_, label) in zip(answers, pictures, strict=True)]
    assert both.with_tta.loss == pytest.approx(-np.mean(np.log(shares)))
    assert both.with_tta.loss != plain.loss
    assert both.with_tta.top1 == sum(a.label == label for a, (_, label) in zip(answers, pictures, strict=True))
    assert both.with_tta.images == 4


def test_an_unknown_kind_is_refused_everywhere():
    message = "no test-time augmentation 'flip': expected none, mirror, shift or all"
    model, run = shaken(CONFIG, "float32"), load_run("first-mixer")
    for attempt in (
        lambda: evaluate(model, GREY, LABELS, MEAN, STD, tta="flip"),
        lambda: run.predict("missing.png", tta="flip"),
        lambda: pretrained(small()).predict("missing.png", tta="flip"),
    ):
        with pytest.raises(ConfigError, match=message):
            attempt()
    with pytest.raises(ConfigError, match="images of 1 x 1 pixels cannot be shifted"):
        evaluate(model, GREY[:, :1, :1], LABELS, MEAN, STD, tta="all")


def test_the_command_line_offers_what_there_is():
    from tinymixer.cli.eval import tta_option

    command = tta_option(lambda: None)
    (option,) = command.__click_params__
    assert tuple(option.type.choices) == tuple(TTA)
