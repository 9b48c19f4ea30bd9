"""Multipart messages of DICOMweb (PS3.18 section 8.6) without holding an object in memory."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from email.message import Message
from typing import BinaryIO

_PIECE = 1 << 16


class IncompleteAnswer(ValueError):
    """The answer ended before its object was complete."""


def save_object(chunks: Iterator[bytes], content_type: str, file: BinaryIO) -> None:
    """Write the one object of an answer to ``file``.

    Parameters
    ----------
    chunks
        Body of the answer.
    content_type
        Its header ``Content-Type``: multipart, or the object itself.
    file
        Opened for writing.

    Raises
    ------
    IncompleteAnswer
        The body lacks its end.
    ValueError
        The answer is of another type.
    """
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() == "application/dicom":
        for chunk in chunks:
            file.write(chunk)
        return
    boundary = header.get_boundary()
    if header.get_content_maintype() != "multipart" or not boundary:
        raise ValueError(f"the answer is of type {header.get_content_type()}, not DICOM")
    delimiter = b"\r\n--" + boundary.encode("latin-1")
    rest = _skip(chunks, b"\r\n", delimiter)  # the first boundary may come without a line before it
    rest = _skip(chunks, rest, b"\r\n\r\n")
    _copy_until(chunks, rest, delimiter, file)


def _skip(chunks: Iterator[bytes], buffer: bytes, mark: bytes) -> bytes:
    """What follows ``mark``."""
    while mark not in buffer:
        buffer += _next(chunks)
    return buffer.split(mark, 1)[1]


def _copy_until(chunks: Iterator[bytes], buffer: bytes, mark: bytes, file: BinaryIO) -> None:
    while (end := buffer.find(mark)) < 0:
        certain = max(len(buffer) - len(mark) + 1, 0)  # the mark may lie across two chunks
        file.write(buffer[:certain])
        buffer = buffer[certain:] + _next(chunks)
    file.write(buffer[:end])


def _next(chunks: Iterator[bytes]) -> bytes:
    try:
        return next(chunks)
    except StopIteration:
        raise IncompleteAnswer("the answer ended early") from None


class StoreRequest:
    """Body of a STOW-RS request with one object, read in pieces while it is sent.

    Parameters
    ----------
    file
        The object in the DICOM file format, opened for reading.
    stop
        When set, reading fails, which ends the request.
    on_bytes
        Told how many bytes of the file were read.
    """

    def __init__(self, file: BinaryIO, stop: threading.Event, on_bytes: Callable[[int], None]) -> None:
        boundary = uuid.uuid4().hex
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file, self._stop, self._on_bytes = file, stop, on_bytes
        self._length = len(self._head) + os.fstat(file.fileno()).st_size + len(self._tail)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of the message; requests sends only what can be iterated without loading it."""
        while piece := self.read(_PIECE):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; the parts of the message come one after the other."""
        if self._stop.is_set():
            raise InterruptedError("given up")
        if self._head:
            piece, self._head = _cut(self._head, size)
            return piece
        if piece := self._file.read(size):
            self._on_bytes(len(piece))
            return piece
        piece, self._tail = _cut(self._tail, size)
        return piece


def _cut(part: bytes, size: int) -> tuple[bytes, bytes]:
    return (part, b"") if size < 0 else (part[:size], part[size:])
