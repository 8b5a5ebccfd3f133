"""float32 beside float64: the dtype that goes in comes out, and the answer is as good as float32 allows."""

import numpy as np

from tinymixer.gradcheck.arrays import largest, place_of
from tinymixer.gradcheck.conduct import Named
from tinymixer.gradcheck.report import Row
from tinymixer.gradcheck.scale import output_size
from tinymixer.gradcheck.subject import Subject, random_cotangent, stream

FLOAT32_TOLERANCE = 1e-4  # a thousand roundings of 2^-24, of the size of the output or gradient
NOISE = 1e7  # what the float32 code must be expected to be off by counts so many times: a thousandfold is allowed
COARSER = 2.0**29  # how many times coarser float32 rounds than float64
DRAWS = 4


def precision_rows(wide: Subject, narrow: Subject, seed: int = 0) -> list[Row]:
    """Compare a subject in float64 with its twin in float32: dtypes, and how far the numbers lie apart.

    Both start from the inputs rounded to float32. How far float32 may be off is measured in float64: moving the inputs
    by their last bits shows how sensitive the operation is here and how much its own rounding adds, and float32 rounds
    2^29 times coarser. In LayerNorm's dx large terms may cancel; their rounding is no fault of the code.
    """
    generator = stream(seed, "precision")
    rounded = {name: host.astype(np.float32).astype(np.float64) for name, host in wide.inputs.items()}
    dy = random_cotangent(wide.output({}).shape, generator).astype(np.float32).astype(np.float64)
    got = narrow.answers(rounded, dy)
    leaks = [name for name, array in got.items() if array.dtype != np.float32]
    kinds = ", ".join(f"{_called(name)} in {got[name].dtype}" for name in leaks)
    note = f"float32 went in, and came out: {kinds}" if leaks else ""
    rows = [wide.row("dtype kept", float(bool(leaks)), where=_called(leaks[0]) if leaks else "", note=note)]
    exact = wide.answers(rounded, dy)
    if not all(np.isfinite(array).all() for array in exact.values()):
        return rows
    jittered = [
        wide.answers({name: _last_bit(host, generator) for name, host in rounded.items()}, _last_bit(dy, generator))
        for _ in range(DRAWS)
    ]
    # GELU of -4 is nearly 0 because two numbers of size 4 cancel, and float32 rounds those: an error beside 4, not 0.
    typical = max(output_size(wide, name, np.ones(exact["y"].shape)) for name in wide.inputs)
    rows.append(_distance_row(wide, rounded, dy, exact, got, jittered, typical))
    return rows


def _called(name: str) -> str:
    """y for the output, dx for the gradient by x."""
    return name if name == "y" else f"d{name}"


def _last_bit(host: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Every element moved by one or two of float64's last bits."""
    return host * (1 + 2.0**-52 * generator.choice([-2.0, -1.0, 1.0, 2.0], host.shape))


def _distance_row(
    subject: Subject, inputs: Named, dy: np.ndarray, exact: Named, got: Named, jittered: list[Named], typical: float
) -> Row:
    """The worst distance between float32 and float64, relative to the size of the numbers and their noise."""
    worst = subject.row("float32 against float64", 0.0, tolerance=FLOAT32_TOLERANCE)
    for name, expected in exact.items():
        if not expected.size:
            continue
        noise = COARSER * max(largest(other[name] - expected) for other in jittered)
        size = max(largest(expected), typical) if name == "y" else largest(expected)
        if name != "y" and largest(inputs[name]):
            size = max(size, largest(dy) * typical / largest(inputs[name]))
        apart = abs(got[name].astype(np.float64) - expected)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        index = int(np.argmax(apart))
        allowance = size + NOISE * noise
        error = float(apart.flat[index]) / allowance if apart.flat[index] else 0.0
        if error > worst.error:
            worst = subject.row(
                "float32 against float64",
                error,
                tolerance=FLOAT32_TOLERANCE,
                where=place_of(_called(name), expected.shape, index),
                expected=float(expected.flat[index]),
                got=float(got[name].flat[index]),
            )
    return worst
