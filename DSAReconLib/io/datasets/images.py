"""Stacks of frames as NIfTI and single pictures as PNG, through SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import DatasetError


def read_stack(path: Path) -> NDArray[np.float32]:
    """Frames (F, R, C), float32, of a NIfTI file."""
    import SimpleITK

    frames = SimpleITK.GetArrayFromImage(_read(path, SimpleITK))
    if frames.ndim != 3:
        raise DatasetError(f"{path} has {frames.ndim} dimensions; expected frames, rows and columns.")
    return frames.astype(np.float32)


def write_stack(path: Path, frames: NDArray[np.float32]) -> None:
    """Write frames (F, R, C) as NIfTI: columns first in the file, spacing 1."""
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(frames, np.float32)), str(path), True)


def read_picture(path: Path) -> NDArray[np.float32]:
    """Grey values (R, C) in [0, 1] of a PNG: mean of the colors, on white where it is transparent."""
    import SimpleITK

    pixels = SimpleITK.GetArrayFromImage(_read(path, SimpleITK))
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        raise DatasetError(f"{path} is not an 8- or 16-bit picture.")
    scaled = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    if scaled.ndim == 2:
        return scaled
    bands = scaled.shape[2]
    grey = scaled[..., : 3 if bands >= 3 else 1].mean(2)
    if bands not in (2, 4):
        return grey
    alpha = scaled[..., -1]
    return grey * alpha + 1 - alpha


def write_picture(path: Path, grey: NDArray[np.float32]) -> None:
    """Write grey values (R, C) in [0, 1] as 8-bit PNG."""
    import SimpleITK

    pixels = np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), str(path))


def _read(path: Path, itk: Any) -> Any:
    if not path.is_file():
        raise DatasetError(f"{path} is missing.", hint="Copy the whole folder of the case.")
    try:
        return itk.ReadImage(str(path))
    except RuntimeError as error:
        raise DatasetError(f"{path} cannot be read ({str(error).strip().splitlines()[-1]}).") from None
