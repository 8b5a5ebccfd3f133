"""What needs a clone of the repository: the peers in PyTorch and JAX, and scripts that make whole tables.

The package itself measures with `tinymixer bench`; these modules build on `tinymixer.bench`, never the other way round.
Only `tinymixer bench --peer` reaches back: its worker process imports the peer's module by name.
"""
