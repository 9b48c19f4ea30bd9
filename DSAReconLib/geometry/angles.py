"""C-arm angles to directions in patient LPS.

Conventions (DICOM PS3.3 C.8.7.5.1.2, C.8.19.6.13.1): the primary angle is positive
when the detector is on the patient's left (LAO), the secondary angle is positive when
it is towards the head (CRA). World = patient LPS, mm, origin at the isocenter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

PATIENT_FROM_TABLE: dict[str, NDArray[np.float64]] = {
    "HFS": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], float),
    "FFS": np.array([[-1, 0, 0], [0, 1, 0], [0, 0, -1]], float),
    "HFP": np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], float),
    "FFP": np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]], float),
    "HFDR": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float),
    "HFDL": np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], float),
    "FFDR": np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], float),
    "FFDL": np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]], float),
}
"""Rotation (3, 3) per patient position: columns are table left, down, head in patient LPS."""


def positioner_axes(
    primary_deg: ArrayLike, secondary_deg: ArrayLike, roll_deg: ArrayLike = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Directions of the beam and of the detector for positioner angles.

    Parameters
    ----------
    primary_deg, secondary_deg
        Positioner angles (V,) in degrees, LAO and CRA positive.
    roll_deg
        Turn of the detector in its own plane (V,) in degrees; positive turns the
        displayed image content clockwise.

    Returns
    -------
    beam, column_direction, up : (V, 3) each
        Unit vectors in patient LPS: from source to detector, of growing column index,
        and of *falling* row index. DICOM PS3.17 FFF.1.2.
    """
    primary, secondary, roll = np.broadcast_arrays(
        *(np.atleast_1d(np.deg2rad(np.asarray(a, float))) for a in (primary_deg, secondary_deg, roll_deg))
    )
    ca, sa, cb, sb = np.cos(primary), np.sin(primary), np.cos(secondary), np.sin(secondary)
    beam = np.stack([cb * sa, -cb * ca, sb], -1)
    right = np.stack([ca, sa, np.zeros_like(ca)], -1)
    up = np.stack([-sb * sa, sb * ca, cb], -1)
    cr, sr = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return beam, cr * right + sr * up, cr * up - sr * right


def angles_from_beam(beam: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Primary and secondary angle (V,), degrees, of beam directions (V, 3) in patient LPS.

    Inverse of :func:`positioner_axes` for secondary angles within (-90, 90) degrees.
    """
    direction = np.asarray(beam, float)
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    primary = np.rad2deg(np.arctan2(direction[..., 0], -direction[..., 1]))
    return primary, np.rad2deg(np.arcsin(np.clip(direction[..., 2], -1.0, 1.0)))


def patient_angles_from_equipment(
    primary_deg: ArrayLike, secondary_deg: ArrayLike, patient_position: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Patient-based angles (V,), degrees, from equipment-based ones (enhanced XA).

    Equipment angles are given in the isocenter system of the table (X left, Y down,
    Z head for an unrotated table; DICOM PS3.3 C.8.19.6.13.1). Angles do not say where
    the image's up direction points: for poses use
    :meth:`~DSAReconLib.geometry.ConeBeamGeometry.rotated` with :data:`PATIENT_FROM_TABLE`.

    Raises
    ------
    ValueError
        Unknown ``patient_position`` (expected one of :data:`PATIENT_FROM_TABLE`).
    """
    try:
        rotation = PATIENT_FROM_TABLE[patient_position]
    except KeyError:
        known = ", ".join(PATIENT_FROM_TABLE)
        raise ValueError(f"patient_position must be one of {known}; got {patient_position!r}") from None
    beam, _, _ = positioner_axes(primary_deg, secondary_deg)
    return angles_from_beam(beam @ rotation.T)
