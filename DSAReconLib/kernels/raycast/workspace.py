"""Buffers that outlive one call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Workspace:
    """Zero-bordered buffers by shape, kept by an operator from call to call.

    Whoever writes into a border zeroes it again. Use within a kernel launch only (the
    launch lock also guards the buffers).
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def zero_bordered(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Float32 buffer of ``shape`` with zero border and undefined inner part."""
        if shape not in self._buffers:
            self._buffers[shape] = np.zeros(shape, np.float32)
        return self._buffers[shape]
