"""Operations as the slices of a batch compute them on NumPy: few passes, on parts that stay in the cache.

Each has the signature and the mathematics of the operation of the same name in `tinymixer.ops`, where the derivation
stands, and is held to it by `tests/engines/sliced/`.
"""

from tinymixer.engines.sliced.kept_memory import keep_freed_memory
from tinymixer.engines.sliced.operations import sliced_operations
from tinymixer.engines.sliced.shared_sums import SharedSums

__all__ = ["SharedSums", "keep_freed_memory", "sliced_operations"]
