"""Both MLPs of a Mixer block as one tile kernel per direction, in NVIDIA's tile language for Python (cuTile).

token_mlp.py, channel_mlp.py   the kernels: begin here
on_numpy.py                    runs the same source on NumPy
tile_sizes.py                  which tiles are tried, and what a GPU has room for
compiler.py, cubin.py          compiles them and reads what they use
tile_kernels.py                loads them and launches them
"""
