"""The captured step with strong augmentation and mixing, held to the reference engine, on the stand-in GPU."""

import numpy as np
import pytest

from tests.engines.cuda.test_captured_step import (
    BATCH,
    CONFIG,
    IMAGES,
    ODD,
    OPTIMIZERS,
    SEED,
    assert_same_weights,
    config_with,
    data,
    host,
    learning_rate,
    make_step,
    start,
)
from tests.kernels.fake_cupy import LAUNCHES, fake_gpu
from tinymixer import MlpMixer
from tinymixer.data import Augmentation, epoch_order
from tinymixer.engines.cuda.staging import draw_step
from tinymixer.engines.engine import Step, Work
from tinymixer.engines.reference import ReferenceEngine

STRONG = Augmentation(
    crop_padding=2, flip=True, cutout=3, alternate_flip=True,
    transforms="rotate(20, 0.5) zoom brightness(0.5, 0.5) sharpness contrast(0.5, 0.5) erase trivial_augment",
    mixup=0.8, cutmix=1.0,
)  # fmt: skip
MIXUP = Augmentation(crop_padding=2, flip=True, cutout=3, mixup=0.4)
COLOURS = Augmentation(transforms="posterize solarize(1, 0.5) channel_offset saturation")
STEPS, MIXED_STEPS = 4, 3


@pytest.fixture
def cupy(emulated):
    with fake_gpu() as module:
        yield module


def plan():
    """Four steps of two epochs, of which the last is not mixed."""
    for s in range(STEPS):
        epoch, inside = divmod(s, 2)
        indices = epoch_order(SEED, epoch, IMAGES)[inside * BATCH : (inside + 1) * BATCH]
        yield Step(indices, epoch, inside, learning_rate(s), s < MIXED_STEPS)


def staged(config, augmentation):
    shape = (config.image_size, config.image_size, 3)
    return [
        draw_step(s.indices, augmentation, s.learning_rate, SEED, s.epoch, s.step, shape=shape, mixed=s.mixed)
        for s in plan()
    ]


def reference(config, augmentation, micro_batches=1):
    """The model and the totals of each step by the layers, on NumPy."""
    model = MlpMixer(config)
    start(model.parameters)
    given = data(config)
    work = Work(
        given["pixels"], given["labels"], given["mean"], given["std"], BATCH, augmentation, 0.1, micro_batches, SEED,
        classes=config.num_classes,
    )  # fmt: skip
    engine = ReferenceEngine(model).prepared(OPTIMIZERS["sgd decoupled"](model.parameters), work)
    return model, [totals for _, totals in engine.steps(plan())]


@pytest.mark.parametrize(
    ("config", "augmentation", "options"),
    [
        (CONFIG, STRONG, {"captured": True}),
        (ODD, STRONG, {"captured": False, "micro_batches": 2}),
        (CONFIG, MIXUP, {"captured": True, "micro_batches": 3}),
        (ODD, COLOURS, {"captured": True}),
        (config_with(CONFIG, overlap=2), STRONG, {"captured": True}),
    ],
    ids=["strong", "strong, in parts", "mixup, in parts", "colours", "strong, overlapping windows"],
)
def test_steps_equal_the_reference_engines(cupy, config, augmentation, options):
    config = config_with(config, drop_path=0.3, dropout=0.2)
    wanted, totals = reference(config, augmentation, options.get("micro_batches", 1))
    model, _, step = make_step(
        cupy, config, OPTIMIZERS["sgd decoupled"], augmentation=augmentation, label_smoothing=0.1, slots=2, **options
    )
    numbers, correct = staged(config, augmentation), 0
    while numbers:
        count = min(step.free_slots, len(numbers))
        step.stage(numbers[:count])
        step.run(count)
        correct, numbers = correct + step.totals().correct, numbers[count:]
    assert step.captured == options["captured"], step.note
    np.testing.assert_allclose(step.recent(2)[:, 0], [t.loss_sum / BATCH for t in totals[-2:]], rtol=1e-5)
    assert correct == sum(t.correct for t in totals)
    assert_same_weights(model.parameters, wanted.parameters, 2e-5)


@pytest.mark.parametrize(("precision", "distance"), [("tf32", 0.01), ("bfloat16", 0.04), ("float16", 0.005)])
def test_steps_in_other_formats_stay_near(cupy, precision, distance):
    wanted, _ = reference(CONFIG, STRONG)
    model, _, step = make_step(
        cupy, CONFIG, OPTIMIZERS["sgd decoupled"], augmentation=STRONG, label_smoothing=0.1, precision=precision
    )
    before = host(model.parameters.values)
    step.stage(staged(CONFIG, STRONG))
    step.run(STEPS)
    assert step.totals().skipped == 0
    moved = np.linalg.norm(wanted.parameters.values - before)
    assert np.linalg.norm(host(model.parameters.values) - wanted.parameters.values) < distance * moved


def test_mixing_is_switched_off_in_the_same_graph(cupy):
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], augmentation=STRONG)
    step.stage(staged(CONFIG, STRONG))
    step.run(1)
    graph = step._graph
    LAUNCHES.clear()
    step.run(STEPS - 1)
    assert step._graph is graph is not None
    assert not LAUNCHES


def test_a_step_without_strong_augmentation_makes_no_whole_images(cupy):
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], augmentation=Augmentation(2, True, 3), captured=False)
    step.stage(staged(CONFIG, Augmentation(2, True, 3)))
    step.run(1)
    names = {name.split("<")[0] for name in LAUNCHES}
    assert "gather_patches" in names
    assert not names & {"augment_images", "mix_patches"}


def test_evaluation_is_not_augmented(cupy):
    _, _, step = make_step(cupy, CONFIG, OPTIMIZERS["sgd"], augmentation=STRONG)
    given, chosen = data(CONFIG), np.arange(2, 11)
    x = (given["pixels"][chosen] / 255 - given["mean"]) / given["std"]
    alone = MlpMixer(CONFIG)
    start(alone.parameters)
    wanted = alone.forward(x.astype(np.float32))[0]
    np.testing.assert_allclose(step.logits(step.training_pixels, chosen), wanted, rtol=1e-5, atol=1e-5)
