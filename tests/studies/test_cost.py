"""The arithmetic of `cost`: frontiers, what a training costs, joules per step, and what is said of them."""

import pytest

from tinymixer.bench import energy
from tinymixer.bench.energy import processor_meter
from tinymixer.data import load_dataset
from tinymixer.models import make_model
from tinymixer.studies import Form, Numbers, Spread, cost
from tinymixer.studies.cost import Steps, costs_of_steps, multiply_adds_of_the_run, parts, recipe_of, timed_recipes
from tinymixer.studies.cost_points import ALONE, FAMILIES, SIZES, cost_of, points_of
from tinymixer.studies.cost_words import compare, conclude
from tinymixer.studies.frontier import (
    Point,
    best_within,
    frontier,
    missing,
    overlap,
    undecided_neighbours,
    undecided_outside,
)
from tinymixer.studies.numbers import PartResult
from tinymixer.training.trainer import Trainer


def point(name, price, *accuracies):
    return Point(name, "", price, Spread(accuracies))


def names(points):
    return [each.family for each in points]


def test_the_frontier_has_what_nothing_dominates():
    a, b, c, d = point("a", 1, 0.5), point("b", 2, 0.8), point("c", 3, 0.7), point("d", 4, 0.9)
    assert names(frontier([d, c, b, a])) == ["a", "b", "d"]
    assert frontier([]) == []
    assert frontier([c]) == [c]
    same, dearer, worse = point("same", 2, 0.8), point("dearer", 3, 0.8), point("worse", 2, 0.7)
    assert names(frontier([b, dearer, worse])) == ["b"]  # as good for more, and worse for the same
    assert names(frontier([b, same])) == ["b", "same"]  # neither dominates the other


def test_means_decide_and_the_distance_is_taken_at_a_points_own_cost():
    steady, lucky, dear = point("steady", 1, 0.8, 0.8), point("lucky", 2, 0.6, 0.9), point("dear", 5, 0.85)
    points = [steady, lucky, dear]
    assert names(frontier(points)) == ["steady", "dear"]
    assert best_within(points, 4.9) is steady
    assert missing(lucky, points) == pytest.approx(0.05)
    assert missing(steady, points) == missing(dear, points) == 0


def test_the_papers_own_frontier():
    """Table 2 of arXiv 2105.01601: top-1 on ImageNet, thousands of core-days; and what figure 2 (left) says of it."""
    table = [
        point("HaloNet", 0.10, 85.8), point("Mixer-L/16", 0.41, 84.15), point("ViT-L/16", 0.18, 85.30),
        point("BiT-R152x4, 21k", 0.94, 85.39), point("NFNet-F4+", 1.86, 89.2), point("Mixer-H/14", 1.01, 87.94),
        point("BiT-R152x4", 9.90, 87.54), point("ViT-H/14", 2.30, 88.55), point("MPL", 20.48, 90.0),
        point("ALIGN", 14.82, 88.64),
    ]  # fmt: skip
    vit = point("ViT-L/16, JFT", 0.65, 87.76)  # of table 3, which the figure shows as well
    assert names(frontier([*table, vit])) == ["HaloNet", "ViT-L/16, JFT", "Mixer-H/14", "NFNet-F4+", "MPL"]


def test_ranges_that_meet_leave_the_order_open():
    assert overlap(Spread((0.5, 0.7)), Spread((0.7, 0.9)))
    assert not overlap(Spread((0.5, 0.7)), Spread((0.71, 0.9)))
    assert overlap(Spread((0.6,)), Spread((0.5, 0.7)))
    assert not overlap(Spread((0.6,)), Spread((0.6,)))  # two single seeds: nothing is known
    a, b, c = point("a", 1, 0.5, 0.7), point("b", 2, 0.68, 0.72), point("c", 3, 0.8, 0.9)
    near, far = point("near", 2.5, 0.65, 0.7), point("far", 3.5, 0.1, 0.2)
    points = [a, b, c, near, far]
    line = frontier(points)
    assert names(line) == ["a", "b", "c"]
    assert [names(pair) for pair in undecided_neighbours(line)] == [["a", "b"]]
    assert names(undecided_outside(points, line)) == ["near"]


@pytest.mark.parametrize("quick", [True, False])
def test_families_of_a_size_have_about_equal_operations_and_sizes_grow(quick):
    form, counted = Form(quick, 1), {}
    shape = {"image_size": 8, "in_channels": 1} if quick else {"image_size": 32, "in_channels": 3}
    for family in FAMILIES:
        for size in SIZES:
            recipe = recipe_of(family, size, form)
            config = type(recipe.model).from_dict(recipe.model.to_dict() | shape | {"num_classes": 10})
            counted[family, size] = make_model(recipe.architecture, config, seed=None).multiply_adds
    for size in SIZES:
        of_size = [counted[family, size] for family in FAMILIES]
        assert max(of_size) < 1.5 * min(of_size), size
    for family in FAMILIES:
        small, medium, large = (counted[family, size] for size in SIZES)
        assert 2.9 < medium / small < 4.1, family
        assert 2.9 < large / medium < 4.1, family


def test_all_train_for_equal_images_and_norm_free_networks_are_clipped():
    for form in (Form(True, 2), Form(False, 3)):
        made = [part for part in parts(form) if part.recipe is not None]
        assert len({(part.recipe.training.steps, part.recipe.training.batch_size) for part in made}) == 1
        assert len({part.recipe.optimizer.learning_rate for part in made}) == 1
        clipped = {part.what["family"] for part in made if part.recipe.optimizer.agc}
        assert clipped == {"nf_resnet"}
        networks = [(part.what["family"], part.what["size"]) for part in made]
        assert set(networks) == {(family, size) for family in FAMILIES for size in SIZES}
        for family, size in networks:
            several = size != "large" if form.quick else family in ("mixer", "vit", "resnet")
            assert networks.count((family, size)) == (form.seeds if several else 1)
    assert {recipe.training.threads for recipe in timed_recipes(Form(True, 1)).values()} == {1}


def test_operations_of_a_run_are_three_passes_over_all_its_images(tmp_path):
    recipe = recipe_of("mixer", "small", Form(True, 1, steps=2))
    trainer = Trainer(recipe, tmp_path / "run", load_dataset("digits"))
    trainer.run()
    S, C, DS, DC, L = 16, 16, 8, 64, 3
    forward = S * 4 * C + L * 2 * S * C * (DS + DC) + C * 10
    assert multiply_adds_of_the_run(trainer) == {"training_multiply_adds": 3 * 2 * 64 * forward}


# -------------------------------------------------------------------------------------------------------------- joules


def domain(folder, name, title, energy_uj, largest=1_000_000):
    path = folder / name
    path.mkdir()
    (path / "name").write_text(title + "\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{largest}\n")
    return path / "energy_uj"


def test_a_meter_adds_up_the_packages_and_goes_round_with_them(tmp_path):
    first = domain(tmp_path, "intel-rapl:0", "package-0", 900_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 100_000)
    core = domain(tmp_path, "intel-rapl:0:0", "core", 0)  # a part of the first package
    board = domain(tmp_path, "intel-rapl:2", "psys", 0)  # holds both packages
    domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0)  # the first package by another way
    meter = processor_meter(tmp_path)
    assert meter.source == energy.PROCESSORS
    assert meter.joules() == 0
    for path in (core, board):
        path.write_text("700000\n")
    second.write_text("300000\n")
    assert meter.joules() == pytest.approx(0.2)
    first.write_text("200000\n")  # past its range of one joule: 0.1 up to it, 0.2 after it
    assert meter.joules() == pytest.approx(0.5)
    second.write_text("400000\n")
    assert meter.joules() == pytest.approx(0.6)
    first.unlink()
    assert meter.joules() is None
    first.write_text("900000\n")  # what went by meanwhile is not known
    assert meter.joules() is None


def test_a_machine_that_tells_no_joules_is_no_error(tmp_path, monkeypatch):
    for folder in (tmp_path / "none", tmp_path):
        meter = processor_meter(folder)
        assert (meter.source, meter.joules()) == ("", None)
    domain(tmp_path, "intel-rapl:0", "package-0", "not a number")
    assert processor_meter(tmp_path).source == ""
    monkeypatch.setattr(energy.importlib, "import_module", lambda name: 1 / 0)
    assert energy.gpu_meter().source == ""


def test_a_gpu_tells_millijoules(monkeypatch):
    class Nvml:
        spent = iter([5_000, 5_000, 7_500])

        def nvmlInit(self):  # noqa: N802
            pass

        def nvmlDeviceGetHandleByPciBusId(self, address):  # noqa: N802
            return address

        def nvmlDeviceGetTotalEnergyConsumption(self, device):  # noqa: N802
            assert device == "0000:19:00.0"
            return next(self.spent)

    class Cupy:
        class cuda:  # noqa: N801
            class Device:
                pci_bus_id = "0000:19:00.0"

    modules = {"pynvml": Nvml(), "cupy": Cupy}
    monkeypatch.setattr(energy.importlib, "import_module", modules.__getitem__)
    meter = energy.gpu_meter()
    assert meter.source == energy.GPU
    assert [meter.joules(), meter.joules()] == [0.0, 2.5]


def test_joules_of_a_step_are_the_median_of_the_last_turns():
    steps = Steps.__new__(Steps)
    steps.seconds = [99.0, 99.0, 1.0, 5.0, 2.0]
    assert steps.spread_of_seconds(3) == 2.0
    steps.joules = [99.0, 99.0, 1.0, 5.0, 2.0]
    assert steps.median_joules(3) == 2.0
    steps.joules[-1] = None
    assert steps.median_joules(3) is None


def test_steps_are_timed_in_turns_with_their_joules(tmp_path, monkeypatch):
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 0, largest=100_000_000)
    monkeypatch.setattr(cost, "FAMILIES", ("mixer", "resnet"))
    monkeypatch.setattr(cost, "SIZES", ("small",))
    monkeypatch.setattr(cost, "TURNS", 2)
    monkeypatch.setattr(cost, "TURN_SECONDS", 0.001)

    def counting():
        meter = processor_meter(tmp_path)
        honest = meter.joules

        def joules():
            counter.write_text(str(int(counter.read_text()) + 3_000_000))  # 3 J more whenever somebody looks
            return honest()

        meter.joules = joules
        return meter

    monkeypatch.setattr(cost, "processor_meter", counting)
    form = Form(True, 1)
    found = costs_of_steps(form)
    timed = ["mixer small", "resnet small", "mixer, layer by layer small"]
    assert list(found["step_seconds"]) == list(found["step_joules"]) == timed
    assert all(0 < seconds < 60 for seconds in found["step_seconds"].values())
    assert all(0 <= spread < 2 for spread in found["spread_of_step_seconds"].values())
    assert all(0 < joules <= 3 for joules in found["step_joules"].values())
    assert found["joules_of"] == energy.PROCESSORS
    monkeypatch.setattr(cost, "processor_meter", lambda: processor_meter(tmp_path / "none"))
    assert costs_of_steps(form)["step_joules"] is None


# --------------------------------------------------------------------------------------------------------------- words


def trained(family, size, accuracies, operations=2e9):
    what, group = {"family": family, "size": size}, f"{family}-{size}"
    return [
        PartResult(f"{group}-seed{seed}", group, what, seed, "finished",
                   {"validation_accuracy": accuracy, "steps": 10, "training_multiply_adds": operations}, {})
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def measurement(step_seconds, step_joules=None):
    figures = {
        "step_seconds": step_seconds, "spread_of_step_seconds": dict.fromkeys(step_seconds, 0.1) | {"mixer small": 0.3},
        "seconds_of": "a processor", "step_joules": step_joules, "joules_of": None,
    }  # fmt: skip
    return PartResult("all", "all", dict(ALONE), 0, "finished", figures, {})


def test_costs_are_steps_times_the_cost_of_a_step():
    results = [*trained("mixer", "small", [0.5]), *trained("vit", "large", [0.6])]
    without = Numbers(results)
    assert cost_of(without, "operations", "mixer", "small") == 2e9
    assert cost_of(without, "seconds", "mixer", "small") is None
    assert points_of(without, "joules") == []
    seconds = {"mixer small": 0.5, "mixer, layer by layer small": 0.7, "vit large": 1.0}
    numbers = Numbers([*results, measurement(seconds, {"mixer small": 3.0, "vit large": 4.0})])
    assert cost_of(numbers, "seconds", "mixer", "small") == 5
    assert cost_of(numbers, "seconds", "mixer", "small", "mixer, layer by layer") == 7
    assert cost_of(numbers, "seconds", "bit", "small") is None
    assert [each.cost for each in points_of(numbers, "joules")] == [30, 40]


def test_what_is_concluded_follows_from_the_numbers():
    seconds = {"mixer small": 0.5, "mixer, layer by layer small": 1.25, "vit small": 0.4, "vit large": 1.0}
    results = [
        *trained("mixer", "small", [0.5, 0.7], 1e9), *trained("vit", "small", [0.55, 0.6], 2e9),
        *trained("vit", "large", [0.8, 0.9], 4e9), measurement(seconds),
    ]  # fmt: skip
    said = conclude(Numbers(results))
    assert said[0] == (
        "The frontier by multiply-adds, from cheap to dear: mixer small 60.0 % (50.0 to 70.0) for 1.0 billion, "
        "vit large 85.0 % (80.0 to 90.0) for 4.0 billion."
    )
    assert said[1] == (
        "No two neighbours on it overlap in their ranges over seeds. Not on it, but with a range that reaches it: "
        "vit small."
    )
    assert said[2].startswith("The frontier by seconds, from cheap to dear: vit small 57.5 % (55.0 to 60.0) for 4.0 s")
    assert said[3] == (
        "Neighbours on it whose ranges over seeds overlap: vit small and mixer small. No other range reaches it."
    )
    assert "by multiply-adds 0.0 (small); by seconds 0.0 (small)" in said[4]
    assert "mixer 0.2; vit 0.5, 0.4" in said[5]
    assert "takes 2.50 (small) times as long" in said[6]
    assert said[6].endswith("the frontier by seconds is: vit small, vit large.")
    assert "differ by 10 % of its median time (half of the networks by more, 30 % at most)" in said[7]
    assert said[-1] == "Joules: not told by this machine."
    rows = {row["what"]: row["here"] for row in compare(Numbers(results))}
    assert rows["Mixer and ViT"] == "small: 60.0 % for 5.0 s, 57.5 % for 4.0 s; large: 85.0 % for 10.0 s"
    told = Numbers([*results[:-1], measurement(seconds, {"mixer small": 3.0, "vit small": 4.0, "vit large": 5.0})])
    assert any(sentence.startswith("The frontier by joules") for sentence in conclude(told))
    assert "Joules: not told by this machine." not in conclude(told)


def test_points_without_a_range_are_named():
    results = [*trained("mixer", "small", [0.5, 0.6], 1e9), *trained("bit", "small", [0.7], 2e9)]
    assert conclude(Numbers(results))[1] == (
        "No two neighbours on it overlap in their ranges over seeds. No other range reaches it. With one seed, so "
        "without a range: bit small."
    )


def test_one_seed_and_nothing_measured_are_said():
    said = conclude(Numbers(trained("resnet", "small", [0.5])))
    assert "One seed each: how far another would be from it is not known." in said
    assert not any("seconds" in sentence or "Joules" in sentence for sentence in said)
    assert conclude(Numbers([])) == []
