"""Stored frames of a multi-frame object, one by one: pydicom where it has a decoder, else SimpleITK."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from numpy.typing import NDArray

from DSAReconLib.dicom.attributes import Attributes, quiet
from DSAReconLib.errors import DicomRunError, ResourceError

if TYPE_CHECKING:
    from pydicom.uid import UID

_PIXEL_DATA_TAGS = {b"\xe0\x7f\x10\x00": "<", b"\x7f\xe0\x00\x10": ">"}
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class PixelFormat:
    """How the stored frames lie in the file."""

    frames: int
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    syntax: UID

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def stored_range(self) -> tuple[int, int]:
        """Smallest and largest value that a pixel can hold."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def pixel_format(header: Attributes, name: str) -> PixelFormat:
    """Layout of the pixel data.

    Raises
    ------
    DicomRunError
        ``dicom.pixel_format`` if a needed attribute is missing or the frames are in color.
    """
    values = {key: header.number(key) for key in ("Rows", "Columns", "BitsAllocated")}
    missing = [key for key, value in values.items() if value is None or value < 1]
    syntax = getattr(getattr(header.dataset, "file_meta", None), "TransferSyntaxUID", None)
    if missing or syntax is None:
        raise DicomRunError(
            f"{name} lacks {', '.join(missing) or 'the transfer syntax'}, so its frames cannot be decoded.",
            code="dicom.pixel_format",
            hint="Export the run again.",
        )
    if not syntax.is_transfer_syntax:
        raise DicomRunError(f"{name} names an unknown transfer syntax.", code="dicom.pixel_format")
    if (header.number("SamplesPerPixel") or 1) != 1:
        raise DicomRunError(f"{name} has color frames, not X-ray intensities.", code="dicom.pixel_format")
    allocated = int(values["BitsAllocated"] or 0)
    if allocated not in (8, 16, 32):
        raise DicomRunError(f"{name} has {allocated} bits per pixel; expected 8, 16 or 32.", code="dicom.pixel_format")
    return PixelFormat(
        frames=int(header.number("NumberOfFrames") or 1),
        rows=int(values["Rows"] or 0),
        columns=int(values["Columns"] or 0),
        bits_allocated=allocated,
        bits_stored=int(header.number("BitsStored") or allocated),
        signed=header.number("PixelRepresentation") == 1,
        syntax=syntax,
    )


def check_pixel_bytes(path: Path, position: int, layout: PixelFormat) -> None:
    """Whether the file holds as many bytes or fragments as the frames need, without decoding.

    ``position`` is where the pixel data element starts.

    Raises
    ------
    DicomRunError
        ``dicom.no_pixels``, ``dicom.truncated`` or ``dicom.frame_count``.
    """
    if layout.syntax.is_deflated:
        return  # the data set is one compressed stream: positions in the file mean nothing
    with path.open("rb") as stream:
        stream.seek(position)
        length = _pixel_data_length(stream, explicit=not layout.syntax.is_implicit_VR)
        if length is None:
            raise DicomRunError(
                f"{path.name} has no pixel data.", code="dicom.no_pixels", hint="Export the run with its images."
            )
        if layout.syntax.is_encapsulated:
            _check_fragments(stream, path.name, layout)
            return
        there = min(length, path.stat().st_size - stream.tell())
    needed = layout.frames * layout.frame_bytes
    if there < needed:
        code, hint = "dicom.truncated", "The file was cut off: copy or export it again."
        if length < needed:
            code, hint = "dicom.frame_count", "Number of Frames does not fit the pixel data: export the run again."
        raise DicomRunError(
            f"{path.name} has {there} bytes of pixels; {layout.frames} frames of {layout.rows} x {layout.columns} "
            f"need {needed}.",
            code=code,
            hint=hint,
        )


def _pixel_data_length(stream: BinaryIO, *, explicit: bool) -> int | None:
    order = _PIXEL_DATA_TAGS.get(stream.read(4))
    if order is None:
        return None
    if explicit:
        stream.read(4)  # VR and two reserved bytes
    length = stream.read(4)
    return int.from_bytes(length, "little" if order == "<" else "big") if len(length) == 4 else None


def _check_fragments(stream: BinaryIO, name: str, layout: PixelFormat) -> None:
    """Walk the items of encapsulated pixel data (PS3.5 A.4)."""
    end = os.fstat(stream.fileno()).st_size
    fragments = -1  # the first item is the offset table
    while True:
        tag, length = stream.read(4), int.from_bytes(stream.read(4), "little")
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or length == _UNDEFINED or stream.tell() + length > end:
            raise DicomRunError(
                f"{name} ends within frame {max(fragments, 0) + 1} of {layout.frames}: the file was cut off.",
                code="dicom.truncated",
                hint="Copy or export the file again.",
            )
        stream.seek(length, os.SEEK_CUR)
        fragments += 1
    if fragments < layout.frames:
        raise DicomRunError(
            f"{name} announces {layout.frames} frames but holds {fragments}.",
            code="dicom.frame_count",
            hint="Export the run again.",
        )


def stored_frames(path: Path, layout: PixelFormat) -> Iterator[NDArray]:
    """Stored values of the frames (R, C), in order, as integers without any rescaling.

    Raises
    ------
    DicomRunError
        ``dicom.decode`` if neither pydicom nor SimpleITK can decode the pixel data.
    ResourceError
        ``resource.memory`` if a frame does not fit into memory.
    """
    done = 0
    try:
        try:
            for frame in _pydicom_frames(path):
                _check_shape(frame, layout, path.name)
                yield _stored_bits(frame, layout)
                done += 1
        except (DicomRunError, MemoryError, GeneratorExit):
            raise
        except Exception as error:  # every decoder fails in its own way: SimpleITK is the second try
            reason = _one_line(error)
            yield from _simpleitk_frames(path, layout, done, reason)
            done = layout.frames
    except MemoryError:
        raise ResourceError(
            f"Not enough memory to decode {path.name}.", code="resource.memory", hint="Close other programs."
        ) from None
    if done < layout.frames:
        raise DicomRunError(f"{path.name} announces {layout.frames} frames but holds {done}.", code="dicom.frame_count")


def _pydicom_frames(path: Path) -> Iterator[NDArray]:
    from pydicom.pixels import iter_pixels

    with quiet(), _quiet_stderr():
        frames = iter_pixels(path, raw=True)
    while True:
        with quiet(), _quiet_stderr():
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _simpleitk_frames(path: Path, layout: PixelFormat, start: int, reason: str) -> Iterator[NDArray]:
    import SimpleITK as sitk  # noqa: N813 - the name that its manual uses

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet_stderr():
            reader.SetFileName(str(_without_rescale(path, folder)))
            images = sitk.GetArrayFromImage(reader.Execute())
    except (RuntimeError, OSError):
        raise DicomRunError(
            f"The pixel data of {path.name} ({layout.syntax.name}) cannot be decoded: damaged or cut off. ({reason})",
            code="dicom.decode",
            hint="Copy or export the file again, or export it uncompressed.",
        ) from None
    images = images.reshape(-1, *images.shape[-2:])
    if len(images) < layout.frames:
        raise DicomRunError(
            f"{path.name} announces {layout.frames} frames but holds {len(images)}.", code="dicom.frame_count"
        )
    for frame in images[start : layout.frames]:
        _check_shape(frame, layout, path.name)
        yield _stored_bits(frame, layout)


def _without_rescale(path: Path, folder: str) -> Path:
    """The file itself, or a copy without rescale slope and intercept, which ITK would apply."""
    import pydicom

    with quiet():
        dataset = pydicom.dcmread(path)
        if "RescaleSlope" not in dataset and "RescaleIntercept" not in dataset:
            return path
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            if keyword in dataset:
                delattr(dataset, keyword)
        copy = Path(folder, "pixels.dcm")
        dataset.save_as(copy)
    return copy


def _stored_bits(frame: NDArray, layout: PixelFormat) -> NDArray:
    """Frame without the overlay planes that old objects keep in the bits above the stored ones."""
    if layout.signed or layout.bits_stored == layout.bits_allocated or frame.dtype.kind != "u":
        return frame
    return frame & frame.dtype.type((1 << layout.bits_stored) - 1)


def _check_shape(frame: NDArray, layout: PixelFormat, name: str) -> None:
    if frame.shape != layout.shape:
        raise DicomRunError(
            f"A frame of {name} decodes to shape {frame.shape}; expected {layout.shape}.", code="dicom.decode"
        )


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def has_decoder(syntax: UID) -> bool:
    """Whether frames of this transfer syntax can be decoded here."""
    if not syntax.is_encapsulated:
        return True
    from pydicom.pixels import get_decoder

    try:
        with quiet():
            if get_decoder(syntax).is_available:
                return True
    except NotImplementedError:
        return False
    return str(syntax) in _SIMPLEITK_SYNTAXES


# JPEG baseline, extended, lossless (two forms), JPEG-LS (two), JPEG 2000 (two), RLE: all tried with SimpleITK 2.5.
_SIMPLEITK_SYNTAXES = {
    f"1.2.840.10008.1.2.{tail}" for tail in ("4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "5")
}


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Silence the C libraries of the decoders, which write to the process's standard error themselves."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no standard error, as in a windowed application
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
