"""Memory that two processes share for pictures, and that nobody has to clean up.

On POSIX it is a file without a name whose descriptor the child inherits, on Windows a
named mapping of the page file: in both cases the system frees it when the last process
that holds it has ended, however it ended. (Named segments of
``multiprocessing.shared_memory`` outlive a killed owner, and before Python 3.13 the
attaching side's resource tracker unlinks them too early.)
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
import uuid

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ResourceError

FRAME_SLOTS = 2
"""One picture is written while the other is read."""

_WINDOWS = sys.platform == "win32"


class FrameMemory:
    """:data:`FRAME_SLOTS` float32 pictures of up to ``max_pixels`` pixels.

    Use :meth:`create` in the parent and :meth:`attach` in the child.
    """

    def __init__(self, buffer: mmap.mmap, max_pixels: int, handle: str, descriptor: int | None) -> None:
        self._buffer, self._descriptor = buffer, descriptor
        self.max_pixels = max_pixels
        self.handle = handle

    @classmethod
    def create(cls, max_pixels: int) -> FrameMemory:
        """New memory; hand :attr:`handle` and :attr:`descriptors` on to the child.

        Raises
        ------
        ResourceError
            The system does not give it.
        """
        size = _size(max_pixels)
        try:
            if _WINDOWS:
                name = f"dsarecon-{uuid.uuid4().hex}"
                return cls(mmap.mmap(-1, size, tagname=name), max_pixels, f"tag:{name}", None)  # type: ignore[call-arg]
            descriptor = _nameless_file(size)
            return cls(mmap.mmap(descriptor, size), max_pixels, f"fd:{descriptor}", descriptor)
        except OSError as error:
            raise ResourceError(f"No shared memory of {size / 1e6:.0f} MB for pictures: {error.strerror}.") from error

    @classmethod
    def attach(cls, handle: str, max_pixels: int) -> FrameMemory:
        """The parent's memory.

        Raises
        ------
        ResourceError
            The handle leads nowhere.
        """
        kind, _, value = handle.partition(":")
        size = _size(max_pixels)
        try:
            if kind == "tag":
                return cls(mmap.mmap(-1, size, tagname=value), max_pixels, handle, None)  # type: ignore[call-arg]
            descriptor = int(value)
            if os.fstat(descriptor).st_size != size:
                raise ValueError("it has another size")
            return cls(mmap.mmap(descriptor, size), max_pixels, handle, descriptor)
        except (OSError, ValueError, TypeError) as error:
            raise ResourceError(
                f"The shared memory {handle!r} of the client cannot be used ({error}).",
                hint="Start the render server through RenderClient.",
            ) from error

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Open files that the child must inherit."""
        return () if self._descriptor is None else (self._descriptor,)

    def picture(self, slot: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """View (R, C) of the beginning of a slot.

        Raises
        ------
        ValueError
            No such slot, or the picture is larger than a slot.
        """
        rows, columns = shape
        if not 0 <= slot < FRAME_SLOTS or not 0 < rows * columns <= self.max_pixels:
            raise ValueError(f"slot {slot} of {FRAME_SLOTS} with {rows} x {columns} of {self.max_pixels} pixels")
        offset = 4 * slot * self.max_pixels
        return np.frombuffer(self._buffer, np.float32, rows * columns, offset).reshape(rows, columns)

    def close(self) -> None:
        """Give this process's part back; views that are still in use keep the memory until they go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        with contextlib.suppress(BufferError):
            self._buffer.close()


def _size(max_pixels: int) -> int:
    return 4 * FRAME_SLOTS * max_pixels


def _nameless_file(size: int) -> int:
    """Descriptor of a file of ``size`` bytes that no folder knows."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dsarecon-frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
