"""NumPy's view of the kernels' number formats, and how close a kernel must come in each."""

import numpy as np

ITEMSIZE = {"float": 4, "__half": 2, "__nv_bfloat16": 2}
STORAGE = {"float": np.float32, "__half": np.float16, "__nv_bfloat16": np.uint16}
ROUNDING = {"float": 2.0**-23, "__half": 2.0**-10, "__nv_bfloat16": 2.0**-7}  # distance of neighbours, relative
NUMBERS = tuple(ITEMSIZE)


def packed(array, number):
    """float array -> the bits of that format; NumPy has no bfloat16, so its bits travel as uint16."""
    array = np.asarray(array, np.float32)
    if number != "__nv_bfloat16":
        return array.astype(STORAGE[number])
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def unpacked(array, number):
    """The bits of that format -> float32."""
    if number != "__nv_bfloat16":
        return array.astype(np.float32)
    return (array.astype(np.uint32) << 16).view(np.float32)


def rounded(array, number):
    return unpacked(packed(array, number), number)


def assert_close(found, wanted, number, terms=1, message=""):
    """Within two roundings of the format, and for sums of `terms` numbers within float32's error, of the largest."""
    tolerance = 2 * ROUNDING[number] + terms * 2.0**-22
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(found, wanted, rtol=2 * ROUNDING[number], atol=tolerance * scale, err_msg=message)
