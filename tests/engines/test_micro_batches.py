"""Gradient accumulation is exact with every ingredient: a batch in uneven parts, on every engine and over ranks, trains
the same weights as the batch in one piece, in float64.

In one piece: the model's own layers, one thread, one slice, one rank.
"""

import numpy as np
import pytest

from tests.parallel.thread_ranks import on_ranks
from tests.shaken import shaken
from tests.training.small_runs import Recorder, small_dataset, small_recipe
from tinymixer.data import Augmentation
from tinymixer.engines import EngineOptions, Step, Work, choose_engine
from tinymixer.models import MixerConfig, MlpMixer
from tinymixer.optim import SGD, AdamW, Muon, ParameterGroup, WeightAverage
from tinymixer.training import Trainer

BATCH = 10  # three micro-batches have 3, 3 and 4 images; three ranks, too, of which two do theirs at once
STEPS = 3
DATA = small_dataset()
SIZES = {"image_size": 8, "in_channels": 1, "patch_size": 4, "hidden_dim": 8, "tokens_mlp_dim": 4}
# eps: the gradients of token mixing's output biases are rounding alone, which AdamW would make as large as others
ADAM = {"eps": 1e-3, "weight_decay": 0.1, "clip_norm": 0.5}
RULES = {
    "sgd": lambda parameters, groups: SGD(parameters, 0.9, weight_decay=0.1, clip_norm=0.5, groups=groups),
    "adamw": lambda parameters, groups: AdamW(parameters, decay="all", groups=groups, **ADAM),
    "muon": lambda parameters, groups: Muon(parameters, iterations=3, groups=groups, **ADAM),
}
GROUPS = [
    ParameterGroup("blocks.0.channel_*", frozen=True),
    ParameterGroup("stem.*", learning_rate_factor=0.3, weight_decay=0.0),
]
WEAK = {"crop_padding": 1, "flip": True, "cutout": 3}
STRONG = {
    **WEAK,
    "alternate_flip": True,
    "transforms": "rotate(20, 0.7) zoom(0.3, 0.5) contrast(0.4, 0.5) erase(0.25, 0.7) random_erasing(0.3, 0.5)",
}

COMBINATIONS = {
    "mixup": {"augmentation": {"mixup": 0.8}, "smoothing": 0.1},
    "cutmix, weak": {"augmentation": {**WEAK, "cutmix": 1.0}, "smoothing": 0.1, "rule": "adamw"},
    "both, strong": {"augmentation": {**STRONG, "mixup": 0.8, "cutmix": 1.0}, "rule": "adamw", "average": True},
    "sam": {"sam_rho": 0.2, "dropout": 0.2, "drop_path": 0.3},
    "muon, groups": {"rule": "muon", "augmentation": {"mixup": 0.8}, "groups": GROUPS},
    "everything": {
        "dropout": 0.2,
        "drop_path": 0.3,
        "augmentation": {**STRONG, "mixup": 0.8, "cutmix": 1.0},
        "smoothing": 0.1,
        "sam_rho": 0.2,
        "rule": "muon",
        "groups": GROUPS,
        "average": True,
    },
}


def trained(combination, micro_batches=1, ranks=None, **options):
    """Train; the weights, the average and what the steps report, together."""
    settings = {"augmentation": {}, "smoothing": 0.0, "sam_rho": 0.0, "rule": "sgd", "groups": ()} | combination
    config = MixerConfig(
        **SIZES,
        channels_mlp_dim=12,
        num_blocks=2,
        dropout=settings.get("dropout", 0.0),
        drop_path=settings.get("drop_path", 0.0),
    )
    model = shaken(config, "float64")
    optimizer = RULES[settings["rule"]](model.parameters, settings["groups"])
    average = WeightAverage(model.parameters, 0.9, every=1) if settings.get("average") else None
    work = Work(
        DATA.train_images,
        DATA.train_labels,
        DATA.mean,
        DATA.std,
        BATCH,
        Augmentation(**settings["augmentation"]),
        settings["smoothing"],
        micro_batches,
        seed=5,
        classes=10,
        average=average,
        sam_rho=settings["sam_rho"],
        **({"ranks": ranks} if ranks else {}),
    )
    order = np.random.default_rng(3).permutation(40)
    plan = [
        Step(order[BATCH * i : BATCH * (i + 1)], epoch=i % 2, step=i, learning_rate=0.05, mixed=i < 2)
        for i in range(STEPS)
    ]
    engine = choose_engine(model, EngineOptions(dtype="float64", **options), work, optimizer)
    assert engine.name == options["engine"]
    totals = [totals for _, totals in engine.steps(plan)]
    assert [total.images for total in totals] == [BATCH] * STEPS
    return {
        "weights": model.parameters.values.copy(),
        "average": None if average is None else average.values,
        "losses": np.array([total.loss_sum for total in totals]),
        "correct": np.array([total.correct for total in totals]),
    }


@pytest.fixture(scope="module", params=COMBINATIONS)
def combination_and_whole(request):
    """A combination, and what it trains in one piece."""
    combination = COMBINATIONS[request.param]
    return combination, trained(combination, engine="reference", threads=1, slice_images=BATCH)


@pytest.mark.parametrize("size", [1, 3], ids=["one rank", "three ranks"])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_parts_of_a_batch_train_the_same_weights(combination_and_whole, engine, size):
    combination, whole = combination_and_whole
    options = {"engine": engine, "threads": 2, "slice_images": 2}
    found = (
        [trained(combination, 3, **options)]
        if size == 1
        else on_ranks(size, lambda ranks: trained(combination, 3, ranks, **options))
    )
    for each in found:
        np.testing.assert_array_equal(each["correct"], whole["correct"])
        np.testing.assert_allclose(each["losses"], whole["losses"], rtol=1e-12)
        np.testing.assert_allclose(each["weights"], whole["weights"], rtol=1e-12, atol=1e-13)
        if whole["average"] is not None:
            np.testing.assert_allclose(each["average"], whole["average"], rtol=1e-12, atol=1e-13)


def test_a_model_whose_images_may_depend_on_each_other_is_told_of(tmp_path):
    class SaysNothing(MlpMixer):
        def forward(self, images, train=False, rng=None):
            return super().forward(images, train, rng)

    config = small_recipe().model
    for micro_batches, told in ((1, False), (2, True)):
        heard = Recorder()
        recipe = small_recipe(micro_batches=micro_batches, epochs=1)
        Trainer(recipe, tmp_path / str(micro_batches), DATA, heard, model=SaysNothing(config)).run()
        assert any("SaysNothing does not treat images independently" in note for note in heard.notes) == told
