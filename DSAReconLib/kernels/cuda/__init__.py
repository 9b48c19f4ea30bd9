"""CUDA kernels: source text, compiled at run time by the NVRTC that torch brings along."""
