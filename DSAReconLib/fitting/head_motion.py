"""Rigid motion of the head between a mask and a fill frame, in six degrees of freedom.

A rigid motion in space is none of the image: bone close to the source moves further than
bone close to the detector. For one view, the place where a point of a fill frame was in
the mask frame is a homography of its pixel plus a displacement along ``parallax`` that
grows with q = sod / depth - 1 (Longuet-Higgins and Prazdny, Proc. R. Soc. B 208, 1980).
Where structures overlap, the mask is moved by their mean displacement, and what they move
against each other is added from the head volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.registration import median_residual, robust_weights, significant_part
from DSAReconLib.geometry import ConeBeamGeometry

TURN_RADIUS_MM = 60.0
"""Distance from the isocenter at which a turn is measured as a length."""

Image = NDArray[np.float32]

_DEPTH_BLUR_MM = 3.5
_LEAST_STRUCTURE = 0.01
_SMOOTHING_PX = 1.5
_DENSE_PIXELS = 192
_BORDER_PX = 4
_ITERATIONS = 6
_CONVERGED_MM = 2e-3
_PRIOR_MM = 1.5
_LARGEST_MM = 15.0
_STEP_MM = 0.01
_LEAST_PIXELS = 400
_UNCERTAIN_MM = 1.0


class MovedView:
    """Where the pixels of a view come from if the head moves between mask and fill.

    Parameters
    ----------
    view
        Pose of one frame.
    stride
        Every so many pixels only.
    """

    def __init__(self, view: ConeBeamGeometry, stride: int = 1) -> None:
        rows, columns = view.detector_shape
        self.sod_mm = float(view.sod_mm[0])
        self._matrix, self._source = view.projection_matrices[0], view.source_mm[0]
        corner = view.detector_center_mm[0] - self._source
        corner = corner - (columns - 1) / 2 * view.detector_u_mm[0] - (rows - 1) / 2 * view.detector_v_mm[0]
        # A pixel's ray is rays @ (column, row, 1), with depth 1 along the normal.
        self._rays = np.stack([view.detector_u_mm[0], view.detector_v_mm[0], corner], 1) / float(view.sdd_mm[0])
        self._row, self._column = np.ogrid[:rows:stride, :columns:stride]

    def sources(self, motion_mm: NDArray[np.float64]) -> tuple[Image, Image]:
        """Place (2, R, C) of each pixel in the mask at the depth of the isocenter, and its change with q.

        Parameters
        ----------
        motion_mm
            Shift (x, y, z) in mm and turn about x, y, z through the isocenter, as a
            rotation vector times ``TURN_RADIUS_MM``: how the head moved from mask to fill.
        """
        from scipy.spatial.transform import Rotation

        back = Rotation.from_rotvec(-np.asarray(motion_mm[3:]) / TURN_RADIUS_MM).as_matrix()
        left = self._matrix[:, :3] @ back
        homography = left @ self._rays
        drift = (left @ (self._source - motion_mm[:3]) + self._matrix[:, 3]) / self.sod_mm
        homography[:, 2] += drift
        column, row, depth = (h[0] * self._column + h[1] * self._row + h[2] for h in homography)
        place = np.stack([row, column]) / depth
        parallax = (np.array([drift[1], drift[0]])[:, None, None] - place * drift[2]) / depth
        return place.astype(np.float32), parallax.astype(np.float32)

    def sensitivities(self) -> tuple[list[Image], list[Image]]:
        """Derivatives of :meth:`sources` by each component of the motion, at rest: 6 of (2, R, C) each, px / mm."""
        place, parallax = self.sources(np.zeros(6))
        moved = [self.sources(step) for step in _STEP_MM * np.eye(6)]
        scale = np.float32(1 / _STEP_MM)
        return [(a - place) * scale for a, _ in moved], [(b - parallax) * scale for _, b in moved]

    def motion_in_plane(self, row_column_px: tuple[float, float], turn_deg: float) -> NDArray[np.float64]:
        """The smallest motion that moves and turns the image like this (clockwise, about its middle)."""
        places, _ = self.sensitivities()
        turn = np.deg2rad(turn_deg)
        rows, columns = (axis - (axis.min() + axis.max()) / 2 for axis in (self._row, self._column))
        wanted = np.stack(np.broadcast_arrays(turn * columns - 0 * rows, -turn * rows - 0 * columns))
        wanted += np.array(row_column_px)[:, None, None]
        design = np.stack([place[:, ::8, ::8].ravel() for place in places], 1).astype(float)
        return np.linalg.lstsq(design, -wanted[:, ::8, ::8].ravel(), rcond=1e-2)[0]

    def image_motion(self, motion_mm: NDArray[np.float64]) -> tuple[tuple[float, float], float]:
        """Shift (row, column) of the middle and clockwise turn, degrees, at the depth of the isocenter."""
        place, _ = self.sources(motion_mm)
        rows, columns = (axis - (axis.min() + axis.max()) / 2 for axis in (self._row, self._column))
        moved = np.stack(np.broadcast_arrays(self._row, self._column)) - place
        turn = (moved[0] * columns - moved[1] * rows).sum() / (rows**2 + columns**2).sum()
        return (float(moved[0].mean()), float(moved[1].mean())), float(np.rad2deg(turn))


@dataclass(frozen=True)
class DepthOfStructure:
    """Depth of what a mask frame shows.

    Parameters
    ----------
    mean_depth
        q of the structure around each pixel (R, C), weighted with its gradient.
    remainder
        Gradient (2, R, C) of the depth-weighted picture that ``mean_depth`` does not explain.
    """

    mean_depth: Image
    remainder: Image

    @classmethod
    def of(cls, pictures: tuple[Image, Image], pixel_mm: float) -> DepthOfStructure:
        """From a head volume's depth pictures."""
        from scipy.ndimage import gaussian_filter

        plain, weighted = (_gradient(picture) for picture in pictures)
        sigma = _DEPTH_BLUR_MM / pixel_mm
        common = gaussian_filter((plain * weighted).sum(0), sigma)
        strength = gaussian_filter((plain**2).sum(0), sigma)
        depth = common / (strength + np.float32(_LEAST_STRUCTURE) * max(float(strength.mean()), 1e-12))
        return cls(depth, weighted - depth * plain)

    def smoothed(self, sigma_px: float) -> DepthOfStructure:
        """Depth of the same structure in a picture that was smoothed."""
        from scipy.ndimage import gaussian_filter

        sigmas = (0, sigma_px, sigma_px)
        return DepthOfStructure(self.mean_depth, gaussian_filter(self.remainder, sigmas, truncate=3.0))

    def displaced(self, place: Image, parallax: Image) -> tuple[Image, Image, Image]:
        """Places (2, R, C) at the mean depth; that depth; the remainder, both seen from the fill frame."""
        depth = _sampled(self.mean_depth, place)
        remainder = np.stack([_sampled(part, place) for part in self.remainder])
        return place + depth * parallax, depth, remainder


@dataclass(frozen=True)
class HeadMotion:
    """Motion of the head (6,) as in :meth:`MovedView.sources`, and the standard error of its worst direction, mm."""

    motion_mm: NDArray[np.float64]
    error_mm: float = np.inf
    reliable: bool = False


def estimate_head_motion(
    mask: Image,
    fill: Image,
    usable: NDArray[np.bool_],
    structure: DepthOfStructure,
    view: ConeBeamGeometry,
    start_mm: NDArray[np.float64],
) -> HeadMotion:
    """Robust Gauss-Newton for the six components of the motion between two attenuation frames (R, C).

    As :func:`DSAReconLib.acquisition.registration.estimate_motion`: both frames are smoothed
    alike, vessels are outliers, and directions that do not stand out from their error count as 0.
    """
    from scipy.ndimage import gaussian_filter, minimum_filter, spline_filter

    stride = 2 if min(mask.shape) >= _DENSE_PIXELS else 1
    mask, fill = (gaussian_filter(image, _SMOOTHING_PX, mode="nearest", truncate=3.0) for image in (mask, fill))
    inside = minimum_filter(usable, 2 * _BORDER_PX + 1).astype(np.float32)
    for edge in (np.s_[:_BORDER_PX], np.s_[-_BORDER_PX:], np.s_[:, :_BORDER_PX], np.s_[:, -_BORDER_PX:]):
        inside[edge] = 0
    if inside.sum() < _LEAST_PIXELS:
        return HeadMotion(np.zeros(6))
    fit = _Fit(
        MovedView(view, stride),
        structure.smoothed(_SMOOTHING_PX),
        spline_filter(mask, order=3, mode="mirror", output=np.float32),
        _gradient(mask),
        fill[::stride, ::stride],
        inside[::stride, ::stride],
        4 * np.pi * (_SMOOTHING_PX / stride) ** 2,
    )
    return fit.solve(start_mm)


@dataclass(frozen=True)
class _Fit:
    """Smoothed frames of one Gauss-Newton: the mask as spline and slopes, the fill where it is compared."""

    view: MovedView
    structure: DepthOfStructure
    spline: Image
    slopes: Image
    fill: Image
    inside: Image
    alike: float

    def solve(self, start_mm: NDArray[np.float64]) -> HeadMotion:
        motion, covariance = np.array(start_mm, float), np.eye(6)
        sensitivities = self.view.sensitivities()
        for _ in range(_ITERATIONS):
            step, covariance = self._step(motion, sensitivities)
            motion = motion + step
            if np.abs(motion).max() > _LARGEST_MM:
                return HeadMotion(np.zeros(6))
            if np.abs(step).max() < _CONVERGED_MM:
                break
        known, error = significant_part(motion, covariance, _UNCERTAIN_MM)
        return HeadMotion(known, error, True)

    def _step(
        self, motion: NDArray[np.float64], sensitivities: tuple[list[Image], list[Image]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Step of the motion and its covariance."""
        place, parallax = self.view.sources(motion)
        place, depth, remainder = self.structure.displaced(place, parallax)
        warped = _sampled(self.spline, place, order=3) + (parallax * remainder).sum(0)
        slopes = np.stack([_sampled(slope, place) for slope in self.slopes])
        against = remainder + depth * slopes
        design = [(a * slopes).sum(0) + (b * against).sum(0) for a, b in zip(*sensitivities, strict=True)]
        design.append(np.ones_like(warped))
        residual = self.fill - warped
        residual -= median_residual(residual, self.inside)
        weight = self.inside * robust_weights(residual, self.inside)
        columns = np.stack([column.ravel() for column in design], 1).astype(float)
        weighted = columns * weight.reshape(-1, 1)
        normal, right = weighted.T @ columns, weighted.T @ residual.ravel().astype(float)
        variance = float(np.vdot(weight * residual, residual) / weight.sum()) * self.alike
        pull = np.diag([variance / _PRIOR_MM**2] * 6 + [0.0])
        right[:6] -= pull[0, 0] * motion
        covariance = variance * np.linalg.pinv(normal + pull, rcond=1e-14, hermitian=True)[:6, :6]
        return np.linalg.lstsq(normal + pull, right, rcond=1e-14)[0][:6], covariance


def _gradient(image: Image) -> Image:
    """Slopes along rows and columns (2, R, C)."""
    return np.stack([np.gradient(image, axis=axis) for axis in (0, 1)]).astype(np.float32)


def _sampled(image: Image, place: Image, order: int = 1) -> Image:
    """Image (or, for order 3, its spline coefficients) at places (2, R, C)."""
    from scipy.ndimage import map_coordinates

    return np.asarray(map_coordinates(image, place, order=order, mode="mirror", prefilter=False, output=np.float32))
