"""Several processes ("ranks", MPI's word) train one model: who they are, and how their sums are added up.

`Ranks` (`ranks.py`, start there) is all that training and the engines know of it; a run in one process has a `Ranks` of
one, so that nobody asks which it is. `launched_ranks` (`launched.py`, which needs no NumPy) finds the ranks that a
launcher has started. The page is docs/parallel.md.
"""
