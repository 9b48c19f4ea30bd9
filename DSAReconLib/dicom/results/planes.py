"""Voxel grids as frames: plane positions and orientation in patient LPS (PS3.3 C.7.6.16.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from DSAReconLib.dicom.results.elements import decimal, item
from DSAReconLib.geometry import VolumeGrid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ORIENTATION = (1, 0, 0, 0, 1, 0)
"""Columns grow to the patient's left, rows to posterior; frames follow each other to the head."""


def measures_item(grid: VolumeGrid) -> Dataset:
    """Pixel Measures Sequence item: spacing of rows and columns, and from frame to frame."""
    x, y, z = grid.spacing_mm
    return item(PixelSpacing=[decimal(y), decimal(x)], SliceThickness=decimal(z), SpacingBetweenSlices=decimal(z))


def orientation_item() -> Dataset:
    """Plane Orientation Sequence item."""
    return item(ImageOrientationPatient=[str(cosine) for cosine in ORIENTATION])


def position_mm(grid: VolumeGrid, frame: int) -> tuple[float, float, float]:
    """Center (x, y, z), LPS mm, of the first voxel of a frame."""
    x, y, z = grid.origin_mm
    return x, y, z + frame * grid.spacing_mm[2]


def position_item(grid: VolumeGrid, frame: int) -> Dataset:
    """Plane Position Sequence item."""
    return item(ImagePositionPatient=[decimal(coordinate) for coordinate in position_mm(grid, frame)])
