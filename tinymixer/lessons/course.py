"""The lessons of the course, in order."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """number: "02", or "01b" for one that was put between 01 and 02; name: of its files, without the number.

    minutes: how long it takes someone new to it, a minute for every 60 words of text and eight for every exercise.
    """

    number: str
    name: str
    title: str
    minutes: int

    @property
    def stem(self) -> str:
        """The name of its files without the ending, such as "02_linear"."""
        return f"{self.number}_{self.name}"


class Course:
    """Lessons in their order, found by number: `LESSONS["01b"]`."""

    def __init__(self, *lessons: Lesson) -> None:
        self._lessons = {lesson.number: lesson for lesson in lessons}

    def __iter__(self) -> Iterator[Lesson]:
        return iter(self._lessons.values())

    def __len__(self) -> int:
        return len(self._lessons)

    def __getitem__(self, number: str) -> Lesson:
        return self._lessons[number]


LESSONS = Course(
    Lesson("00", "start_here", "Start here", 60),
    Lesson("01", "arrays_and_images", "Arrays, shapes, images as tokens", 70),
    Lesson("01b", "chain_rule", "The chain rule on ten scalars", 135),
    Lesson("02", "linear", "Linear, forward and backward", 65),
    Lesson("03", "gradient_checking", "Gradient checking, and how a check can lie", 100),
    Lesson("04", "gelu", "GELU, tanh and erf, and the float64 trap", 85),
    Lesson("05", "layer_norm", "LayerNorm: nine lines that everyone gets wrong once", 95),
    Lesson("06", "softmax_cross_entropy", "Softmax cross-entropy, stably", 80),
    Lesson("07", "patches", "Patches: the stem as one matrix product", 80),
    Lesson("08", "token_mixing", "Token mixing: the transposed Linear", 110),
    Lesson("09", "mixer", "The block and the whole Mixer", 85),
    Lesson("10", "training", "SGD, momentum, schedules: training", 125),
    Lesson("11", "gpu", "To the GPU", 120),
    Lesson("12", "what_it_learned", "What it learned", 80),
    Lesson("13", "overfitting", "Overfitting and its cures", 85),
    Lesson("14", "attention", "Attention beside token mixing", 125),
    Lesson("15", "convolutions", "Convolutions: the same few weights at every place", 135),
    Lesson("16", "more_cures", "More data, more cures", 145),
    Lesson("17", "the_real_one", "The real one", 135),
    Lesson("18", "capstone", "Capstone: your own functions train a network", 95),
)
