"""How fast a training step is, beside its peers on the same work and beside the machine's own ceilings.

`tinymixer bench` is the way in. Every contestant runs in a process of its own (`contestant.py`), with the same weights
and the same batch (`work.py`), and they take turns (`arena.py`). The peers live in the repository's `benchmarks/peers`.
"""
