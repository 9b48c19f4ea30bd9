"""One kernel launch at a time, and how many threads it may use.

numba's workqueue layer (the only one on macOS wheels) aborts the process when two threads
launch parallel kernels at once (numba issue 8563), and OpenMP pools of torch and numba
that run at the same time fight for cores. Every launch therefore takes one lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# OpenMP threads that spin while they wait take the core of the one they wait for: on machines that
# are not idle this doubled the processor time of short kernels. Read once, when the library loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_lock = threading.RLock()


@contextmanager
def kernel_launch(chunk_size: int = 0) -> Iterator[None]:
    """Hold the launch lock; deal parallel loops out in chunks of ``chunk_size`` iterations.

    Parameters
    ----------
    chunk_size
        1 to 8 balances loops whose iterations differ in cost; 0 gives each thread one
        equal share.
    """
    import numba

    with _lock, numba.parallel_chunksize(chunk_size):
        yield


def set_num_threads(count: int) -> None:
    """Let numba and (if it is loaded) torch use ``count`` threads each.

    Raises
    ------
    ValueError
        ``count`` is not between 1 and the number of threads numba started with.
    """
    import sys

    import numba

    if not 1 <= count <= numba.config.NUMBA_NUM_THREADS:
        raise ValueError(f"count must lie between 1 and {numba.config.NUMBA_NUM_THREADS}; got {count}")
    numba.set_num_threads(count)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)
