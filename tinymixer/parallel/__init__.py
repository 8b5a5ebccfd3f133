"""Several processes ("ranks", MPI's word) train one model: who they are, and how their sums are added up.

`Ranks` is all that training and the engines know of it; a run in one process has a `Ranks` of one, so that nobody asks
which it is. Start reading at `ranks.py`; the page is docs/parallel.md.
"""

from tinymixer.parallel.launched import Launched, launched_here, launched_ranks
from tinymixer.parallel.ranks import ONE_RANK, ManyRanks, Ranks, share_out

__all__ = ["ONE_RANK", "Launched", "ManyRanks", "Ranks", "launched_here", "launched_ranks", "share_out"]
