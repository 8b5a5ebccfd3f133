"""The lessons of the course, in order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """number: from 0; name: of its files, without the number; minutes: how long it takes someone new to it."""

    number: int
    name: str
    title: str
    minutes: int

    @property
    def stem(self) -> str:
        """The name of its files without the ending, such as "02_linear"."""
        return f"{self.number:02d}_{self.name}"


LESSONS = (
    Lesson(0, "start_here", "Start here", 20),
    Lesson(1, "arrays_and_images", "Arrays, shapes, images as tokens", 30),
    Lesson(2, "linear", "Linear, forward and backward", 40),
    Lesson(3, "gradient_checking", "Gradient checking, and how a check can lie", 40),
    Lesson(4, "gelu", "GELU, tanh and erf, and the float64 trap", 35),
    Lesson(5, "layer_norm", "LayerNorm: nine lines that everyone gets wrong once", 45),
    Lesson(6, "softmax_cross_entropy", "Softmax cross-entropy, stably", 35),
    Lesson(7, "patches", "Patches: the stem as one matrix product", 30),
    Lesson(8, "token_mixing", "Token mixing: the transposed Linear", 45),
    Lesson(9, "mixer", "The block and the whole Mixer", 45),
    Lesson(10, "training", "SGD, momentum, schedules: training", 45),
    Lesson(11, "gpu", "To the GPU", 60),
    Lesson(12, "what_it_learned", "What it learned", 35),
    Lesson(13, "overfitting", "Overfitting and its cures", 40),
)
