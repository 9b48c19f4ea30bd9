"""DSARecon: from a rotational DSA acquisition to a 4D vessel volume."""

import os

# OpenBLAS threads that spin for 30 ms after every product take the cores of the kernels that follow it: on
# machines that are not idle this doubled the time of some methods. 2^18 cycles are 0.1 ms. Read once, when numpy loads.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")

__version__ = "0.1.0"
