"""What a study is: a question of the paper's, the parts that answer it, and what is drawn and concluded from them."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymixer.data import Dataset
from tinymixer.errors import ConfigError
from tinymixer.models import Model
from tinymixer.training.recipe import Recipe, load_recipe
from tinymixer.training.trainer import Trainer

if TYPE_CHECKING:
    from tinymixer.studies.numbers import Numbers

QUICK: Mapping[str, Any] = {  # a Mixer that learns the digits in some three seconds of a processor
    "hidden_dim": 32, "tokens_mlp_dim": 16, "channels_mlp_dim": 128, "num_blocks": 3, "dropout": 0.0,
    "batch_size": 64, "slice_images": 64, "eval_batch_size": 288, "validation_share": 0.2, "ema_every": 1,
    "steps": 300, "threads": 1, "backend": "numpy",
}  # fmt: skip
FULL: Mapping[str, Any] = {"token_init": "lecun", "seconds": 0, "steps": 1500}


@dataclass(frozen=True)
class Form:
    """The size at which a study is run.

    quick   on the bundled digits, in minutes; otherwise on CIFAR-10
    seeds   how often what is trained is repeated, with other seeds
    data    where CIFAR-10 is; "" takes the cache
    steps   of every run, to try a study or to shorten it; where runs differ in length on purpose, so that they cost
            the same, of the plain ones, and the others in proportion. 0 as the study says
    init_from   trained weights of the user's own, a file or a name, from which parts are to start as well; "" none

    Raises ConfigError where these do not fit together.
    """

    quick: bool
    seeds: int
    data: str = ""
    steps: int = 0
    init_from: str = ""

    def __post_init__(self) -> None:
        if self.quick and self.data:
            raise ConfigError("--quick is about the bundled digits: leave --data out, or leave --quick out")
        if self.quick and self.init_from:
            raise ConfigError(
                "--quick is about digits of 8 x 8 grey pixels, which published weights do not know: leave --init-from "
                "out, or leave --quick out"
            )
        if self.seeds < 1 or self.steps < 0:
            raise ConfigError(f"a study needs at least one seed and no negative steps, got {self.seeds}, {self.steps}")

    @property
    def name(self) -> str:
        return "quick" if self.quick else "full"

    @property
    def dataset(self) -> str:
        """The name of its data set."""
        return "digits" if self.quick else "cifar10"

    def recipe(self, seed: int = 0, **changes: Any) -> Recipe:
        """The recipe that the runs of all studies begin from, with some fields changed.

        In the full form it is `cifar10-tiny`, without the first weights that favour neighbouring patches: whatever is
        compared starts as in the paper.
        """
        base = _base(self.quick)
        changed = base.with_overrides(changes).with_overrides({"seed": seed})
        return changed.with_overrides({"steps": self.steps}) if self.steps else changed


@functools.cache  # a study has a recipe for each part
def _base(quick: bool) -> Recipe:
    if quick:
        return load_recipe("digits").with_overrides(QUICK)
    return load_recipe("cifar10-tiny").with_overrides(FULL)


def same_images(dataset: Dataset) -> Dataset:
    return dataset


@dataclass(frozen=True)
class Part:
    """One piece of a study, which runs in a process of its own: an ordinary run, or a measurement.

    what      what sets it apart, in words, such as {"model": "mixer", "images": "shuffled"}; parts of which only the
              seed differs are one group
    recipe    of its run, which has a length in steps; None where nothing is trained
    images    what is done to the data set before; the test images are taken away in any case
    model     makes the model that the run starts from; None: the recipe's
    measure   further figures, taken when the run has ended: numbers by name. It gets the trainer, or None
    watch     further figures, taken after every epoch of the run: numbers by name, which the result has as "epochs",
              a list with an entry for each
    alone     it measures time, so that nothing else of the study runs beside it
    after     the name of the part from whose finished run this one starts, as with --init-from: it begins when that
              part has finished, with the weights after its last step. "" starts as the recipe says
    """

    what: Mapping[str, str]
    seed: int = 0
    recipe: Recipe | None = None
    images: Callable[[Dataset], Dataset] = same_images
    model: Callable[[Recipe, Dataset], Model] | None = None
    measure: Callable[[Trainer | None], Mapping[str, Any]] | None = None
    watch: Callable[[Trainer], Mapping[str, float]] | None = None
    alone: bool = False
    after: str = ""

    @property
    def group(self) -> str:
        """Its name without the seed."""
        return "-".join(re.sub(r"[^a-z0-9.]+", "_", value.lower()).strip("_") for value in self.what.values())

    @property
    def name(self) -> str:
        """That of its folder."""
        return f"{self.group}-seed{self.seed}"


@dataclass(frozen=True)
class Study:
    """A question that the paper answers, asked again on few images.

    paper      the paper's section and figure
    parts      the parts of a form
    draw       draws the pictures into a folder from the numbers of all parts, and returns their names. It gets the
               folders of the finished parts by name, too, for what no number says
    conclude   sentences: what the numbers say, and what they do not
    compare    what the paper found beside what was found here: rows of "what", "paper", "source" and "here"
    seeds      usual number of them: (quick, full)
    check_start   refuses weights that its parts could not start from (`form.init_from`), by a ConfigError or
                  CheckpointError; None: the study starts from none
    """

    name: str
    question: str
    paper: str
    parts: Callable[[Form], list[Part]]
    draw: Callable[["Numbers", Path, Mapping[str, Path]], list[str]]
    conclude: Callable[["Numbers"], list[str]]
    compare: Callable[["Numbers"], list[dict[str, str]]] = field(default=lambda numbers: [])
    seeds: tuple[int, int] = (2, 3)
    check_start: Callable[[Form], object] | None = None

    def form(
        self, quick: bool, seeds: int | None = None, data: str = "", steps: int = 0, init_from: str = ""
    ) -> Form:  # fmt: skip
        """A form of this study, with its usual number of seeds where none is given.

        Raises ConfigError where its fields do not fit, and for weights in a study that starts from none;
        CheckpointError for weights that cannot be used.
        """
        form = Form(quick, self.seeds[0 if quick else 1] if seeds is None else seeds, data, steps, init_from)
        if init_from:
            if self.check_start is None:
                raise ConfigError(f"the study '{self.name}' starts from no weights: leave --init-from out")
            self.check_start(form)
        return form

    def parts_of(self, form: Form) -> list[Part]:
        """The parts, each name once and behind the one that it starts from; those that run alone last."""
        parts = sorted(self.parts(form), key=lambda part: part.alone)
        require_distinct([part.name for part in parts])
        require_starts(parts)
        return parts


def require_distinct(names: Sequence[str]) -> None:
    """Raise ValueError, a defect of the study, where two parts would share a folder."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two parts have the name {name}")


def require_starts(parts: Sequence[Part]) -> None:
    """Raise ValueError, a defect of the study, where a part starts from none that trains and stands before it."""
    trained: set[str] = set()
    for part in parts:
        if part.after and (part.recipe is None or part.after not in trained):
            raise ValueError(f"{part.name} starts from {part.after}, which is no part with a run that stands before it")
        trained |= {part.name} if part.recipe is not None else set()
