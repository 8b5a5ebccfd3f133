"""The learning rate range test."""

import contextlib
import dataclasses

import numpy as np
import pytest

from tests.engines.cuda.test_cuda_engine import dataset as toy_dataset
from tests.engines.cuda.test_cuda_engine import gpu
from tests.engines.cuda.test_cuda_engine import recipe as toy_recipe
from tests.kernels.emulator import COMPILER, NO_COMPILER
from tests.training.small_runs import Recorder, run_small, small_dataset, small_recipe
from tinymixer.errors import ConfigError
from tinymixer.training.lr_find import RangeTest, find_learning_rate, smoothed


def without_test(dataset):
    return dataclasses.replace(dataset, test_images=dataset.test_images[:0], test_labels=dataset.test_labels[:0])


def test_the_steps_are_the_runs_own(tmp_path, monkeypatch):
    """At rates too small to change anything, the losses are those of a run at such a rate, batch by batch."""
    monkeypatch.setattr("tinymixer.training.reports.try_to_draw_curves", lambda *arguments: None)  # for the time
    heard = Recorder()
    run_small(tmp_path / "run", heard, learning_rate=1e-12, schedule="constant", warmup_epochs=0)
    found = find_learning_rate(small_recipe(), 1e-13, 1e-12, 12, without_test(small_dataset()))
    means = np.array([loss for _, loss, *_ in heard.steps]).reshape(3, 5)  # over the epoch so far
    sums = means * np.arange(1, 6)
    expected = np.diff(sums, axis=1, prepend=0).ravel()[:12]
    np.testing.assert_allclose(found.losses, expected, rtol=1e-6)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-13, 1e-12, 12))
    assert not found.ended
    assert found.steepest is None  # nothing was learned


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_every_engine_and_optimizer_gives_the_same_curve(optimizer):
    recipe = small_recipe(optimizer=optimizer, nesterov=False)
    ours, theirs = (
        find_learning_rate(recipe.with_overrides({"engine": engine}), 1e-4, 1e-1, 10, small_dataset())
        for engine in ("cpu", "reference")
    )
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=2e-3)


def test_a_loss_that_is_not_finite_ends_it_with_what_is_there():
    found = find_learning_rate(small_recipe(clip_norm=0, optimizer="sgd"), 1e-3, 1e35, 30, small_dataset())
    assert 1 < len(found.losses) < 30
    assert len(found.rates) == len(found.smoothed) == len(found.losses)
    assert np.isfinite(found.losses).all()
    assert found.ended


def test_what_cannot_be_tested_is_said():
    for lowest, highest, steps in ((0, 1, 100), (1, 1, 100), (1e-3, float("inf"), 100), (1e-6, 1, 3)):
        with pytest.raises(ConfigError):
            find_learning_rate(small_recipe(), lowest, highest, steps, small_dataset())


def test_the_suggestions_are_where_a_known_curve_has_them():
    rates = np.geomspace(1e-6, 1, 121)
    place = np.log10(rates)
    losses = 2 - 1.5 / (1 + np.exp(-8 * (place + 3))) + 0.2 * np.maximum(place + 2, 0)  # falls fastest at 1e-3
    found = RangeTest(rates, losses, losses)
    assert found.steepest == pytest.approx(1e-3, rel=0.13)  # a step is a factor of 1.12
    assert found.tenth_of_lowest == pytest.approx(1e-3, rel=0.13)  # it is lowest at 1e-2
    assert not found.still_falling
    falling = RangeTest(rates[:60], losses[:60], losses[:60])
    assert falling.still_falling
    flat = RangeTest(rates, np.ones(121), np.ones(121))
    assert (flat.steepest, flat.tenth_of_lowest) == (None, None)


def test_smoothing_keeps_a_constant_shifts_nothing_and_a_diverged_step_does_not_reach_back():
    np.testing.assert_allclose(smoothed(np.full(9, 3.0), 2.0), 3.0)
    peak = np.ones(21)
    peak[10] = 2
    found = smoothed(peak, 2.0)
    assert found.argmax() == 10
    np.testing.assert_allclose(found[7:14], found[13:6:-1], rtol=1e-3)
    peak[-1] = 1e9
    np.testing.assert_allclose(smoothed(peak, 2.0)[:13], found[:13], rtol=1e-3)


@pytest.mark.skipif(COMPILER is None, reason=NO_COMPILER)
def test_the_cuda_engine_reports_each_step_alone():
    curves = []
    for backend, engine in (("numpy", "cpu"), ("cupy", "cuda")):
        options = toy_recipe(backend=backend, engine=engine, optimizer="adamw", nesterov=False)
        with gpu() if backend == "cupy" else contextlib.nullcontext():
            curves.append(find_learning_rate(options, 1e-3, 1e-1, 10, toy_dataset()).losses)
    np.testing.assert_allclose(curves[1], curves[0], rtol=2e-4)
