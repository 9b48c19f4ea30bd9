"""Cone-beam acquisition geometry as a value: one pose per view, as vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import GeometryError
from DSAReconLib.geometry.angles import angles_from_beam, positioner_axes
from DSAReconLib.geometry.grid import VolumeGrid

_VECTORS = ("source_mm", "detector_center_mm", "detector_u_mm", "detector_v_mm")
_TOLERANCE_MM = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class ConeBeamGeometry:
    """Poses of a flat-detector cone-beam scan in patient LPS, mm, origin at the isocenter.

    Parameters
    ----------
    source_mm
        Focal spot per view (V, 3).
    detector_center_mm
        Center of the pixel array per view (V, 3), i.e. of pixel ((R-1)/2, (C-1)/2).
    detector_u_mm, detector_v_mm
        Step to the next column and to the next row per view (V, 3); their lengths are
        the pixel spacings at the detector.
    detector_shape
        (rows, columns).

    Notes
    -----
    Equality is by tolerance (1e-6 mm); ``eval(repr(geometry)) == geometry``;
    ``geometry[::4]`` selects views. Arrays are read-only.
    """

    source_mm: NDArray[np.float64]
    detector_center_mm: NDArray[np.float64]
    detector_u_mm: NDArray[np.float64]
    detector_v_mm: NDArray[np.float64]
    detector_shape: tuple[int, int]

    def __post_init__(self) -> None:
        views = None
        for name in _VECTORS:
            value = np.array(getattr(self, name), dtype=np.float64)
            value = value.reshape(0, 3) if value.size == 0 else value  # eval(repr()) of no views gives ()
            if value.ndim != 2 or value.shape[1] != 3 or (views is not None and len(value) != views):
                raise GeometryError(f"{name} must have shape (views, 3) = ({views}, 3); got {value.shape}")
            if not np.all(np.isfinite(value)):
                raise GeometryError(f"{name} must be finite; view {int(np.argwhere(~np.isfinite(value))[0, 0])} is not")
            views = len(value)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        rows, columns = (int(n) for n in self.detector_shape)
        if rows < 1 or columns < 1:
            raise GeometryError(f"detector_shape must be (rows, columns) >= 1; got {self.detector_shape}")
        object.__setattr__(self, "detector_shape", (rows, columns))
        self._refuse_flat_pyramids()

    def _refuse_flat_pyramids(self) -> None:
        """Every view needs a detector plane, and its source outside of that plane."""
        normal = np.cross(self.detector_u_mm, self.detector_v_mm)
        volume = np.abs(np.einsum("vi,vi->v", normal, self.detector_center_mm - self.source_mm))
        flat = np.flatnonzero(volume <= 1e-9 * np.maximum(np.linalg.norm(normal, axis=1), 1e-9))
        if flat.size:
            raise GeometryError(
                f"the source of view {flat[0]} lies in the detector plane, or its two detector steps are parallel"
            )

    # ------------------------------------------------------------------ constructors
    @classmethod
    def from_angles(
        cls,
        primary_angle_deg: ArrayLike,
        secondary_angle_deg: ArrayLike = 0.0,
        *,
        sod_mm: ArrayLike,
        sdd_mm: ArrayLike,
        detector_shape: tuple[int, int],
        detector_spacing_mm: tuple[float, float],
        principal_point_px: tuple[float, float] | None = None,
        roll_deg: ArrayLike = 0.0,
    ) -> ConeBeamGeometry:
        """Geometry from C-arm angles (DICOM PS3.3 C.8.7.5, PS3.17 FFF.2).

        Parameters
        ----------
        primary_angle_deg, secondary_angle_deg, roll_deg
            Angles per view (V,) in degrees; LAO and CRA positive.
        sod_mm, sdd_mm
            Source to isocenter and source to detector, scalar or (V,).
        detector_shape, detector_spacing_mm
            (rows, columns) and (row spacing, column spacing) at the detector.
        principal_point_px
            (row, column), 0-based pixel centers, where the central ray meets the
            detector; default the middle of the array.

        Raises
        ------
        GeometryError
            Unless 0 < sod_mm < sdd_mm and spacings are positive.
        """
        beam, right, up = positioner_axes(primary_angle_deg, secondary_angle_deg, roll_deg)
        views = len(beam)
        sod = np.broadcast_to(np.asarray(sod_mm, float), (views,))[:, None]
        sdd = np.broadcast_to(np.asarray(sdd_mm, float), (views,))[:, None]
        bad = np.flatnonzero(~((sod > 0) & (sod < sdd)))
        if bad.size:
            found = f"sod_mm={sod.flat[bad[0]]:g}, sdd_mm={sdd.flat[bad[0]]:g} in view {bad[0]}"
            raise GeometryError(
                f"sod_mm must lie between 0 and sdd_mm; got {found}",
                hint="Check Distance Source to Patient (0018,1111) and Distance Source to Detector (0018,1110).",
            )
        row_spacing, column_spacing = (float(s) for s in detector_spacing_mm)
        if row_spacing <= 0 or column_spacing <= 0:
            raise GeometryError(f"detector_spacing_mm must be positive; got {detector_spacing_mm}")
        rows, columns = detector_shape
        middle = ((rows - 1) / 2, (columns - 1) / 2)
        row0, column0 = middle if principal_point_px is None else principal_point_px
        step_u, step_v = column_spacing * right, -row_spacing * up
        center = (sdd - sod) * beam + (middle[1] - column0) * step_u + (middle[0] - row0) * step_v
        return cls(-sod * beam, center, step_u, step_v, (rows, columns))

    @classmethod
    def from_projection_matrices(
        cls, matrices: ArrayLike, detector_shape: tuple[int, int], *, sdd_mm: ArrayLike
    ) -> ConeBeamGeometry:
        """Geometry from 3x4 matrices (V, 3, 4): LPS mm to homogeneous (column, row, 1).

        A matrix fixes the detector up to its distance, which ``sdd_mm`` (source to
        detector plane, scalar or (V,)) gives. Any scale and sign of a matrix will do:
        the isocenter is taken to lie in front of the source.
        """
        matrices = np.asarray(matrices, float)
        if matrices.ndim != 3 or matrices.shape[1:] != (3, 4) or not np.all(np.isfinite(matrices)):
            raise GeometryError(f"matrices must be finite and have shape (views, 3, 4); got {matrices.shape}")
        left, right = matrices[:, :, :3], matrices[:, :, 3]
        # rows scaled to unit length first: the test must not depend on the scale of a matrix
        unit_rows = left / np.maximum(np.linalg.norm(left, axis=2, keepdims=True), np.finfo(float).tiny)
        if np.any(np.abs(np.linalg.det(unit_rows)) < 1e-12):
            raise GeometryError("a projection matrix is singular: its source would lie at infinity")
        inverse = np.linalg.inv(left)
        source = -np.einsum("vij,vj->vi", inverse, right)
        depth_of_isocenter = right[:, 2] / np.linalg.norm(left[:, 2], axis=1)
        if np.any(np.abs(depth_of_isocenter) < 1e-9):
            raise GeometryError("a source lies in the detector-parallel plane through the isocenter")
        # inverse @ (column, row, 1) has depth 1/scale of the matrix: bring it to the detector plane
        scale = np.sign(depth_of_isocenter) * np.linalg.norm(left[:, 2], axis=1) * np.asarray(sdd_mm, float)
        steps = inverse * scale[:, None, None]
        rows, columns = detector_shape
        middle = np.array([(columns - 1) / 2, (rows - 1) / 2, 1.0])
        center = source + np.einsum("vij,j->vi", steps, middle)
        return cls(source, center, steps[:, :, 0], steps[:, :, 1], detector_shape)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ConeBeamGeometry:
        """Inverse of :meth:`to_dict`."""
        return cls._of([np.asarray(data[name], float) for name in _VECTORS], tuple(data["detector_shape"]))

    @classmethod
    def _of(cls, vectors: Sequence[NDArray[np.float64]], detector_shape: tuple[int, int]) -> ConeBeamGeometry:
        """Geometry of the four vectors in the order of the fields."""
        source, center, step_u, step_v = vectors
        return cls(source, center, step_u, step_v, detector_shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON (``geometry.json``)."""
        return {name: getattr(self, name).tolist() for name in _VECTORS} | {"detector_shape": list(self.detector_shape)}

    # ------------------------------------------------------------------ value semantics
    def __len__(self) -> int:
        return len(self.source_mm)

    def __getitem__(self, views: slice | int | ArrayLike) -> ConeBeamGeometry:
        index: Any = views
        if isinstance(views, (int, np.integer)):
            # IndexError beyond the end also ends a for loop over the views
            index = [range(len(self))[views]]
        elif not isinstance(views, slice):
            index = np.asarray(views)
            index = index.astype(int) if index.size == 0 else index
        return self._of([getattr(self, name)[index] for name in _VECTORS], self.detector_shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConeBeamGeometry) and self.isclose(other, _TOLERANCE_MM)

    __hash__ = None  # type: ignore[assignment]  # equality is by tolerance

    def __repr__(self) -> str:
        vectors = ", ".join(f"{name}={getattr(self, name).tolist()!r}" for name in _VECTORS)
        return f"ConeBeamGeometry({vectors}, detector_shape={self.detector_shape!r})"

    def isclose(self, other: ConeBeamGeometry, tolerance_mm: float) -> bool:
        """Whether sources and detector corners of all views agree within ``tolerance_mm``."""
        if len(self) != len(other) or self.detector_shape != other.detector_shape:
            return False
        rows, columns = self.detector_shape
        scales = (1.0, 1.0, columns / 2, rows / 2)  # a step's error grows towards the detector's edge
        return all(
            np.allclose(scale * getattr(self, name), scale * getattr(other, name), rtol=0, atol=tolerance_mm)
            for scale, name in zip(scales, _VECTORS)
        )

    # ------------------------------------------------------------------ derived quantities
    @property
    def detector_normal(self) -> NDArray[np.float64]:
        """Unit normal of the detector per view (V, 3), pointing away from the source."""
        normal = np.cross(self.detector_u_mm, self.detector_v_mm)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return normal * np.sign(np.einsum("vi,vi->v", normal, self.detector_center_mm - self.source_mm))[:, None]

    @property
    def detector_spacing_mm(self) -> tuple[float, float]:
        """Mean (row, column) pixel spacing at the detector, mm."""
        return (
            float(np.linalg.norm(self.detector_v_mm, axis=1).mean()),
            float(np.linalg.norm(self.detector_u_mm, axis=1).mean()),
        )

    @property
    def sdd_mm(self) -> NDArray[np.float64]:
        """Distance from source to detector plane per view (V,), mm."""
        return np.einsum("vi,vi->v", self.detector_normal, self.detector_center_mm - self.source_mm)

    @property
    def sod_mm(self) -> NDArray[np.float64]:
        """Depth of the isocenter along the detector normal per view (V,), mm."""
        return -np.einsum("vi,vi->v", self.detector_normal, self.source_mm)

    @property
    def primary_angle_deg(self) -> NDArray[np.float64]:
        """Positioner primary angle per view (V,), degrees, from the detector normal."""
        return angles_from_beam(self.detector_normal)[0]

    @property
    def secondary_angle_deg(self) -> NDArray[np.float64]:
        """Positioner secondary angle per view (V,), degrees, from the detector normal."""
        return angles_from_beam(self.detector_normal)[1]

    @property
    def scan_arc_deg(self) -> float:
        """Angle that the source sweeps around the isocenter from the first to the last view, degrees."""
        unit = self.source_mm / np.linalg.norm(self.source_mm, axis=1, keepdims=True)
        cosine = np.clip(np.einsum("vi,vi->v", unit[1:], unit[:-1]), -1, 1)
        return float(np.rad2deg(np.arccos(cosine)).sum())

    @property
    def projection_matrices(self) -> NDArray[np.float64]:
        """Matrices (V, 3, 4) from homogeneous LPS mm to (column, row, 1) * depth in mm.

        The third row gives the depth from the source along the detector normal (> 0 in
        front). The left 3x3 may have a negative determinant: the image is seen from the
        detector's side (DICOM PS3.17 FFF.2).
        """
        steps = np.stack([self.detector_u_mm, self.detector_v_mm, self._pixel00_mm() - self.source_mm], -1)
        left = np.linalg.inv(steps) * self.sdd_mm[:, None, None]
        return np.concatenate([left, -np.einsum("vij,vj->vi", left, self.source_mm)[..., None]], -1)

    @property
    def isocenter_pixel_mm(self) -> tuple[float, float]:
        """Mean (row, column) pixel spacing scaled to the isocenter, mm."""
        scale = float((self.sod_mm / self.sdd_mm).mean())
        row, column = self.detector_spacing_mm
        return row * scale, column * scale

    def _pixel00_mm(self) -> NDArray[np.float64]:
        rows, columns = self.detector_shape
        return self.detector_center_mm - (columns - 1) / 2 * self.detector_u_mm - (rows - 1) / 2 * self.detector_v_mm

    def project_points(self, points_mm: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Detector positions of points (N, 3).

        Returns
        -------
        row_column_px : (V, N, 2)
            0-based pixel centers.
        depth_mm : (V, N)
            Distance from the source along the detector normal.
        """
        points = np.asarray(points_mm, float)
        matrices = self.projection_matrices
        projected = np.einsum("vij,nj->vni", matrices[:, :, :3], points) + matrices[:, None, :, 3]
        depth = projected[..., 2]
        return projected[..., 1::-1] / depth[..., None], depth

    # ------------------------------------------------------------------ changes of the detector
    def binned(self, factor: int) -> ConeBeamGeometry:
        """Geometry of images whose ``factor`` x ``factor`` pixel blocks are averaged.

        Rows and columns beyond a multiple of ``factor`` are dropped at the high end.

        Raises
        ------
        ValueError
            ``factor`` is not between 1 and the smaller detector side.
        """
        if not 1 <= factor <= min(self.detector_shape):
            raise ValueError(f"factor must lie between 1 and {min(self.detector_shape)}; got {factor}")
        rows, columns = (n // factor for n in self.detector_shape)
        whole = self.cropped_detector((0, rows * factor), (0, columns * factor))
        return ConeBeamGeometry(
            whole.source_mm,
            whole.detector_center_mm,
            factor * whole.detector_u_mm,
            factor * whole.detector_v_mm,
            (rows, columns),
        )

    def cropped_detector(self, rows: tuple[int, int], columns: tuple[int, int]) -> ConeBeamGeometry:
        """Geometry of the pixel block ``[rows[0]:rows[1], columns[0]:columns[1]]``."""
        shift_r = (rows[0] + rows[1] - 1) / 2 - (self.detector_shape[0] - 1) / 2
        shift_c = (columns[0] + columns[1] - 1) / 2 - (self.detector_shape[1] - 1) / 2
        center = self.detector_center_mm + shift_c * self.detector_u_mm + shift_r * self.detector_v_mm
        shape = (rows[1] - rows[0], columns[1] - columns[0])
        return ConeBeamGeometry(self.source_mm, center, self.detector_u_mm, self.detector_v_mm, shape)

    def shifted_detector(self, row_column_px: ArrayLike) -> ConeBeamGeometry:
        """Geometry whose images are moved by (row, column) pixels, (2,) or (V, 2).

        A point seen at pixel p is seen at p + shift afterwards (gantry wobble, sag).
        """
        shift = np.broadcast_to(np.asarray(row_column_px, float), (len(self), 2))
        center = self.detector_center_mm - shift[:, 1:] * self.detector_u_mm - shift[:, :1] * self.detector_v_mm
        return ConeBeamGeometry(self.source_mm, center, self.detector_u_mm, self.detector_v_mm, self.detector_shape)

    # ------------------------------------------------------------------ changes of the world
    def rotated(self, rotation: ArrayLike) -> ConeBeamGeometry:
        """Geometry turned about the isocenter by a rotation matrix (3, 3).

        Enhanced XA gives equipment angles in the frame of the table: build the geometry
        from them and turn it by ``angles.PATIENT_FROM_TABLE[patient_position]`` into
        patient LPS. Unlike a change of the angles alone this also turns the image's up
        direction (feet-first positions).

        Raises
        ------
        ValueError
            ``rotation`` is not a proper rotation.
        """
        rotation = np.asarray(rotation, float)
        if (
            rotation.shape != (3, 3)
            or not np.allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-9)
            or np.linalg.det(rotation) < 0
        ):
            raise ValueError("rotation must be a proper rotation matrix of shape (3, 3)")
        return self._of([getattr(self, name) @ rotation.T for name in _VECTORS], self.detector_shape)

    # ------------------------------------------------------------------ volumes that fit
    def field_of_view_grid(self, *, spacing_mm: float | None = None, shape: int | None = None) -> VolumeGrid:
        """Cubic grid around the isocenter as large as the detector's view of it.

        The side is the larger detector extent scaled to the isocenter. Give ``shape``
        (voxels per side) or ``spacing_mm`` or neither (pixel size at the isocenter).
        """
        row_mm, column_mm = self.isocenter_pixel_mm
        side_mm = max(self.detector_shape[0] * row_mm, self.detector_shape[1] * column_mm)
        if shape is None:
            shape = max(1, round(side_mm / (min(row_mm, column_mm) if spacing_mm is None else spacing_mm)))
        return VolumeGrid.centered(shape, side_mm / shape if spacing_mm is None else spacing_mm)
