"""Geometry of the ``transforms.json`` layout of 4DRGS and VPAL.

Their world has its z axis towards the head; a source at angle ``a`` (``PrimaryAngle``,
rad) lies at ``distance * (cos b cos a, cos b sin a, sin b)``, columns grow along
``(-sin a, cos a, 0)`` and rows along -z (b = 0). Pixels seen from the detector's side, as
DICOM shows them, fit that only in a *mirrored* world: x = posterior, y = left, z = head
(:data:`LAYOUT_FROM_LPS`, determinant -1), with ``a = -primary``. So the frames go in and
out unchanged, and volumes have their x and y axes exchanged.

What is not symmetric
    - The layout holds two distances, one angle pair per view and a centered detector:
      offsets, roll and varying distances raise a GeometryError when writing.
    - Their code sets b = 0 whatever ``SecondaryAngle`` says (the line that would read it
      takes b = -SecondaryAngle): pass ``use_secondary=False`` to see what it sees.
    - ``sad`` is our ``sod_mm``; their source-to-image distance is our ``sdd_mm``.
    - Times are not stored: their code takes k / N_views. ``N_views`` counts all frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry.conebeam import ConeBeamGeometry
from DSAReconLib.geometry.grid import VolumeGrid

LAYOUT_FROM_LPS: NDArray[np.float64] = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], float)
"""Reflection (3, 3) from patient LPS to the layout's world (its own inverse)."""
_DISTANCE_TO_DETECTOR = "sid"  # the key of the file format


def geometry_to_transforms(
    geometry: ConeBeamGeometry, grid: VolumeGrid, files: Sequence[str] | None = None
) -> dict[str, Any]:
    """Content of ``transforms.json`` for these poses and this volume.

    Parameters
    ----------
    files
        ``file`` entry per view (V,), default ``view_000`` and so on.

    Raises
    ------
    GeometryError
        The layout cannot hold the poses or the grid (it is centered at the isocenter).
    """
    sod, sdd = float(geometry.sod_mm.mean()), float(geometry.sdd_mm.mean())
    row_mm, column_mm = geometry.detector_spacing_mm
    primary, secondary = geometry.primary_angle_deg, geometry.secondary_angle_deg
    representable = ConeBeamGeometry.from_angles(
        primary,
        secondary,
        sod_mm=sod,
        sdd_mm=sdd,
        detector_shape=geometry.detector_shape,
        detector_spacing_mm=(row_mm, column_mm),
    )
    if representable != geometry:
        raise GeometryError(
            "transforms.json holds centered, unrolled detectors at constant distances only",
            hint="Use geometry.json of the result folder for calibrated poses.",
        )
    if np.abs(grid.center_mm).max() > 1e-6:
        raise GeometryError(f"transforms.json needs a grid centered at the isocenter; got {grid.center_mm}")
    size, spacing = grid.size_mm[[1, 0, 2]], np.array(grid.spacing_mm)[[1, 0, 2]]
    rows, columns = geometry.detector_shape
    names = [f"view_{k:03d}" for k in range(len(geometry))] if files is None else files
    frames = [
        {"file": name, "PrimaryAngle": -float(np.deg2rad(a)), "SecondaryAngle": float(np.deg2rad(b))}
        for name, a, b in zip(names, primary, secondary, strict=True)
    ]
    return {
        "volume_resolution": [grid.shape_zyx[k] for k in (1, 2, 0)],
        "volume_spacing": spacing.tolist(),
        "volume_phy": size.tolist(),
        "sad": sod,
        _DISTANCE_TO_DETECTOR: sdd,
        "proj_resolution": [columns, rows],
        "proj_phy": [columns * column_mm, rows * row_mm],
        "proj_spacing": [column_mm, row_mm],
        "N_views": len(geometry),
        "frames": frames,
    }


def geometry_from_transforms(
    data: Mapping[str, Any], *, use_secondary: bool = True
) -> tuple[ConeBeamGeometry, VolumeGrid]:
    """Poses and grid in LPS from the content of ``transforms.json``.

    Raises
    ------
    GeometryError
        A key is missing.
    """
    try:
        frames = data["frames"][: int(data["N_views"])]
        primary = -np.rad2deg([float(frame["PrimaryAngle"]) for frame in frames])
        secondary = np.rad2deg([float(frame.get("SecondaryAngle", 0.0)) for frame in frames])
        columns, rows = (int(n) for n in data["proj_resolution"])
        column_mm, row_mm = (float(s) for s in data["proj_spacing"])
        shape = [int(n) for n in data["volume_resolution"]]
        spacing = [float(s) for s in data["volume_spacing"]]
        distances = float(data["sad"]), float(data[_DISTANCE_TO_DETECTOR])
    except KeyError as error:
        raise GeometryError(f"transforms.json lacks the key {error}") from None
    geometry = ConeBeamGeometry.from_angles(
        primary,
        secondary if use_secondary else 0.0,
        sod_mm=distances[0],
        sdd_mm=distances[1],
        detector_shape=(rows, columns),
        detector_spacing_mm=(row_mm, column_mm),
    )
    grid = VolumeGrid.centered((shape[2], shape[0], shape[1]), (spacing[1], spacing[0], spacing[2]))
    return geometry, grid


def volume_to_layout(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Array (z', y', x') of the layout from a volume (z, y, x) in LPS; its own inverse."""
    return np.ascontiguousarray(volume.transpose(0, 2, 1))
