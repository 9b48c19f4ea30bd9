"""How many threads torch may use beside numba's kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread(device: str) -> Iterator[None]:
    """One torch thread on the CPU while numba does the work: two pools of threads would wait for each other.

    The tensors between the kernels are small; on shared cores OpenMP's barriers cost ten
    times what they save. On other devices nothing changes.
    """
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
