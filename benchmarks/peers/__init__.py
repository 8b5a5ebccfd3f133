"""The same Mixer and training step in other frameworks, as fast as their users could make them.

Each module offers

    make_step(config, batch, precision, device)      a callable: `run(n)` takes n training steps, waits for them, and
                                                     returns the loss of the last
    make_forward(config, batch, precision, device)   the same for the forward pass alone; returns its logits (B, K)
    versions()                                       "PyTorch 2.11.0"
    peak_bytes()                                     device memory at its peak since `reset_peak()`, or None

config is a `tinymixer.MixerConfig`; precision "float32", "tf32", "bfloat16" (or "float16" where supported); device
"cpu" or "cuda". On a CPU "bfloat16" is what the framework offers its users there: PyTorch under CPU autocast, JAX with
activations and products in bfloat16. Weights, sums of LayerNorm and the update stay in float32.

All start from the weights of `tinymixer.bench.work` and train with SGD, Nesterov momentum 0.9, weight decay 1e-4. Their
batch is fixed and synthetic, cut into patches (`batch.py`), and on the device already. On a CPU they use the threads
that OMP_NUM_THREADS and the process's affinity allow. A module raises ImportError when its framework is missing.
"""
