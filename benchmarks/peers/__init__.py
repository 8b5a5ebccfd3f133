"""The same Mixer and training step in other frameworks, as fast as their users could make them.

Each module offers

    make_step(config, batch, precision, device)      a callable: `run(n)` takes n training steps, waits for them, and
                                                     returns the loss of the last
    make_forward(config, batch, precision, device)   the same for the forward pass alone; returns its logits (B, K)
    versions()                                       "PyTorch 2.11.0"
    peak_bytes()                                     device memory at its peak since `reset_peak()`, or None

config is a `tinymixer.MixerConfig`; precision "float32", "tf32", "bfloat16" (or "float16" where supported); device
"cpu" or "cuda". All begin with the weights of `tinymixer.bench.work` and train with SGD, Nesterov momentum 0.9, weight
decay 1e-4, on one fixed synthetic batch that lies on the device already, cut into patches. On the CPU they use the
threads that OMP_NUM_THREADS and the process's affinity give them. A framework that is missing raises ImportError when
its module is imported.
"""
