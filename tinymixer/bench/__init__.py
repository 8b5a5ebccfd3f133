"""How fast a training step is, beside its peers on the same work and beside the machine's own ceilings.

Start with `tinymixer bench`. Each implementation runs in a worker process of its own (`worker.py`), with the same
weights and the same batch (`work.py`); the runner lets the workers take turns (`runner.py`). What is here works with
the installed package: our own step, its profile, the machine's ceilings, the chart. What needs a clone is in
`benchmarks/`: the peers (PyTorch, JAX) and the scripts that make whole tables.
"""
