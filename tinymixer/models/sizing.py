"""As large as another model: the width at which a model has about as many parameters."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from tinymixer.errors import ConfigError
from tinymixer.options import Options

WIDEST = 2**20  # channels
MOST_REFUSED = 512  # widths in a row that do not fit, after which none is expected to


def sizes_like(
    kind: type[Options], parameter_count: int, given: Mapping[str, Any], shared: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The fields, as `kind.sizes_at(width)` lists them, of the width that comes nearest to a number of parameters.

    given    fields that stay as they are
    shared   further fields of the model, which stay unless they are among the sizes

    The parameters are counted without building anything. Widths that do not fit the other fields (heads that do not
    divide them, say) are passed over. None where the class does not say what makes a model wide, or how many parameters
    it has, where the width is given, and where no width fits.
    """
    sizes_at: Callable[[int], dict[str, Any]] | None = getattr(kind, "sizes_at", None)
    if sizes_at is None or next(iter(sizes_at(1))) in given:
        return None
    others = {name: value for name, value in shared.items() if name not in sizes_at(1)} | dict(given)

    def sizes(width: int) -> dict[str, Any]:
        return {name: value for name, value in sizes_at(width).items() if name not in given}

    def count(width: int) -> int:
        """The parameters at a width; 0 where it does not fit, or the class does not say."""
        try:
            return int(getattr(kind.from_dict({**others, **sizes(width)}), "parameter_count", 0))
        except ConfigError:
            return 0

    counts: dict[int, int] = {}  # width -> parameters
    width, refused = 1, 0
    while refused < MOST_REFUSED and width < WIDEST and max(counts.values(), default=0) < parameter_count:
        if found := count(width):
            counts[width], refused = found, 0
            # Parameters grow with the square of the width at most, so narrower ones than this are too small.
            width = max(width + 1, int(width * math.sqrt(parameter_count / found)))
        else:
            width, refused = width + 1, refused + 1
    if not counts:
        return None
    for width in range(max(counts) - 1, 0, -1):  # the last one that is too small
        if found := count(width):
            counts[width] = found
            if found < parameter_count:
                break
    return sizes(min(counts, key=lambda width: abs(math.log(counts[width] / parameter_count))))
