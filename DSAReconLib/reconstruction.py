"""What every method returns: contrast attenuation mu(x, t) as values, numpy only.

All representations are separable per element, mu(x, t) = sum_k c_k(x) B_k(t), so that one
renderer, one file format and one evaluation serve every method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.acquisition.corrections import rolled_detector
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid

ARRIVAL_FRACTION = 0.5
"""Bolus arrival = first crossing of this fraction of the curve's maximum (half-rise time)."""


@dataclass(frozen=True)
class TemporalBasis:
    """Temporal basis functions B_k(t), sampled and linear in between, constant outside.

    Parameters
    ----------
    times_s
        Sampling times (T,), s, increasing.
    values
        Function values (K, T), dimensionless.
    """

    times_s: NDArray[np.float64]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1:] != self.times_s.shape:
            raise ValueError(f"values must have shape (K, {len(self.times_s)}); got {self.values.shape}")

    @classmethod
    def constant(cls) -> TemporalBasis:
        """One function that is 1 at all times: a static volume."""
        return cls(np.zeros(1), np.ones((1, 1), np.float32))

    @classmethod
    def hats(cls, knots_s: ArrayLike) -> TemporalBasis:
        """Linear interpolation between knots (K,), s."""
        knots = np.asarray(knots_s, float)
        return cls(knots, np.eye(len(knots), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.values)

    def at(self, times_s: ArrayLike) -> NDArray[np.float32]:
        """Values (n, K) at ``times_s`` (n,), s."""
        times = np.atleast_1d(np.asarray(times_s, float))
        return np.stack([np.interp(times, self.times_s, row) for row in self.values], -1).astype(np.float32)


@dataclass(frozen=True)
class DynamicVolume:
    """Attenuation on a voxel grid, mu(voxel, t) = sum_k coefficients[k] B_k(t), in 1/mm.

    Parameters
    ----------
    grid
        Voxels in patient LPS.
    coefficients
        (K, N), float32, 1/mm.
    basis
        K temporal functions.
    support
        Flat C-order index (N,) of the voxels that ``coefficients`` belong to, all others
        are 0; ``None`` = every voxel of the grid.
    """

    grid: VolumeGrid
    coefficients: NDArray[np.float32]
    basis: TemporalBasis
    support: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        voxels = self.grid.num_voxels if self.support is None else len(self.support)
        if self.coefficients.shape != (len(self.basis), voxels):
            raise ValueError(f"coefficients must have shape {(len(self.basis), voxels)}; got {self.coefficients.shape}")

    def scatter(self, values: NDArray[np.float32], fill: float = 0.0) -> NDArray[np.float32]:
        """Volume (z, y, x) with ``values`` (N,) at the supported voxels, ``fill`` elsewhere."""
        if self.support is None:
            return np.ascontiguousarray(values, np.float32).reshape(self.grid.shape_zyx)
        volume = np.full(self.grid.num_voxels, fill, np.float32)
        volume[self.support] = values
        return volume.reshape(self.grid.shape_zyx)

    def at(self, time_s: float) -> NDArray[np.float32]:
        """Attenuation (z, y, x) at one time, 1/mm."""
        return self.scatter(self.basis.at(time_s)[0] @ self.coefficients)

    def curves(self, times_s: ArrayLike, elements: ArrayLike | slice = slice(None)) -> NDArray[np.float32]:
        """Time-attenuation curves (n, T), 1/mm, of supported voxels (by position in the support)."""
        chosen = elements if isinstance(elements, slice) else np.asarray(elements)
        return self.coefficients[:, chosen].T @ self.basis.at(times_s).T

    def mean(self, times_s: ArrayLike) -> NDArray[np.float32]:
        """Mean attenuation (z, y, x) over ``times_s``, 1/mm."""
        return self.scatter(self.basis.at(times_s).mean(0) @ self.coefficients)

    def peak(self, times_s: ArrayLike) -> NDArray[np.float32]:
        """Largest attenuation (z, y, x) over ``times_s``, 1/mm."""
        return self.scatter(self._chunked(times_s, lambda curves: curves.max(1)))

    def top_mean(self, times_s: ArrayLike, fraction: float = 0.2) -> NDArray[np.float32]:
        """Mean over the brightest ``fraction`` of ``times_s`` per voxel (z, y, x), 1/mm.

        A peak that noise lifts less than the plain maximum does.
        """
        count = max(1, round(fraction * len(np.atleast_1d(times_s))))
        return self.scatter(
            self._chunked(times_s, lambda curves: np.partition(curves, -count, axis=1)[:, -count:].mean(1))
        )

    def arrival_time(self, times_s: ArrayLike, minimum: float) -> NDArray[np.float32]:
        """Bolus arrival time (z, y, x), s; NaN where the peak stays below ``minimum`` (1/mm).

        See :func:`arrival_times` for the definition.
        """
        times = np.atleast_1d(np.asarray(times_s, float))

        def arrival(curves: NDArray[np.float32]) -> NDArray[np.float32]:
            result = arrival_times(curves, times)
            result[curves.max(1) < minimum] = np.nan
            return result

        return self.scatter(self._chunked(times, arrival), fill=np.nan)

    def _chunked(
        self,
        times_s: ArrayLike,
        statistic: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        chunk: int = 1 << 18,
    ) -> NDArray[np.float32]:
        """``statistic`` of the curves, a block of voxels at a time (bounds the memory)."""
        voxels = self.coefficients.shape[1]
        result = np.empty(voxels, np.float32)
        for start in range(0, voxels, chunk):
            block = slice(start, min(start + chunk, voxels))
            result[block] = statistic(self.curves(times_s, block))
        return result


@dataclass(frozen=True)
class RadiativeGaussians:
    """Attenuation as a sum of Gaussians with temporal coefficients.

    mu(x, t) = sum_i a_i(t) exp(-1/2 (x-m_i)^T Sigma_i^-1 (x-m_i)), a_i(t) = sum_k c_ki B_k(t)
    (4DRGS eq. 4.1 with a separable time course).

    Parameters
    ----------
    means_mm
        Centers (N, 3), LPS mm.
    scales_mm
        Standard deviations along the kernel's axes (N, 3), mm.
    quats_wxyz
        Rotations (N, 4), unit quaternions, kernel axes to LPS.
    coefficients
        (K, N), float32, 1/mm.
    basis
        K temporal functions.
    """

    means_mm: NDArray[np.float32]
    scales_mm: NDArray[np.float32]
    quats_wxyz: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    basis: TemporalBasis

    def __post_init__(self) -> None:
        count = len(self.means_mm)
        expected = {"means_mm": (count, 3), "scales_mm": (count, 3), "quats_wxyz": (count, 4)}
        expected["coefficients"] = (len(self.basis), count)
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}; got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.means_mm)

    def amplitudes(self, times_s: ArrayLike) -> NDArray[np.float32]:
        """Central attenuation (n, N), 1/mm, at ``times_s`` (n,), s."""
        return self.basis.at(times_s) @ self.coefficients


@dataclass(frozen=True)
class PictureScale:
    """How the grey value of a picture, contrast dark on white, stands for a line integral.

    Parameters
    ----------
    kind
        ``"linear"``: grey = 1 - D / largest; ``"exponential"``: grey = exp(-D).
    largest
        The line integral D that is black on the linear scale, > 0.
    """

    kind: str
    largest: float

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "exponential") or not self.largest > 0:
            raise ValueError(f"kind must be 'linear' or 'exponential' and largest > 0; got {self.kind}, {self.largest}")

    def pictures(self, line_integrals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Grey values of line integrals (any shape), which are clipped at 0 (and ``largest`` on the linear scale)."""
        if self.kind == "linear":
            return (1 - np.clip(line_integrals / self.largest, 0, 1)).astype(np.float32)
        return np.exp(-np.maximum(line_integrals, 0)).astype(np.float32)

    def line_integrals(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Line integrals >= 0 of grey values; inverse of :meth:`pictures` where nothing was clipped."""
        if self.kind == "linear":
            return (self.largest * np.maximum(1 - pictures, 0)).astype(np.float32)
        darkest = np.exp(-2 * self.largest)
        return -np.log(np.clip(pictures, darkest, 1)).astype(np.float32)


@dataclass(frozen=True)
class OpacityGaussians:
    """Pictures of contrast by alpha compositing of grey Gaussians in front of white (TOGS).

    A model of pictures, not of attenuation: it has no line integrals but those that
    ``picture`` reads off its grey values. Opacity(t) = sum_k opacities[k] B_k(t); the grey
    value in direction d (from the source) is max(0, 1/2 + sum_j color_harmonics[:, j] Y_j(d)).

    Parameters
    ----------
    means_mm, scales_mm, quats_wxyz
        As of :class:`RadiativeGaussians`.
    opacities
        (K, N), >= 0, may exceed 1.
    color_harmonics
        (N, (degree + 1)^2) coefficients of real spherical harmonics in the order of 3DGS.
    basis
        K temporal functions.
    picture
        What the grey values mean.
    pixel_mm
        Pixel size at the isocenter, mm, that the model was fitted with: the footprints'
        low pass (in px^2) is part of the model and is scaled from this to other pixels.
    """

    means_mm: NDArray[np.float32]
    scales_mm: NDArray[np.float32]
    quats_wxyz: NDArray[np.float32]
    opacities: NDArray[np.float32]
    color_harmonics: NDArray[np.float32]
    basis: TemporalBasis
    picture: PictureScale
    pixel_mm: float

    def __post_init__(self) -> None:
        count = len(self.means_mm)
        expected = {"means_mm": (count, 3), "scales_mm": (count, 3), "quats_wxyz": (count, 4)}
        expected["opacities"] = (len(self.basis), count)
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}; got {getattr(self, name).shape}")
        if self.color_harmonics.shape not in {(count, functions) for functions in (1, 4, 9, 16)}:
            raise ValueError(f"color_harmonics must have shape ({count}, 1, 4, 9 or 16)")

    def __len__(self) -> int:
        return len(self.means_mm)

    @property
    def degree(self) -> int:
        """Degree of the color's harmonics."""
        return round(self.color_harmonics.shape[1] ** 0.5) - 1

    def opacities_at(self, times_s: ArrayLike) -> NDArray[np.float32]:
        """Opacities (n, N) at ``times_s`` (n,), s."""
        return self.basis.at(times_s) @ self.opacities


Model = DynamicVolume | RadiativeGaussians | OpacityGaussians
"""What can be rendered at any pose and time."""


@dataclass(frozen=True)
class DetectorMotion:
    """Movement of the image over the detector that the given poses do not explain (gantry wobble).

    Parameters
    ----------
    times_s
        Times (T,) at which it is known, s, increasing; linear in between, constant outside.
    shifts_mm
        Shift of the image along rows (down) and columns (right) (T, 2), mm on the detector.
    turns_deg
        Clockwise turn of the image (T,), degrees.
    """

    times_s: NDArray[np.float64]
    shifts_mm: NDArray[np.float64]
    turns_deg: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.times_s)
        if self.shifts_mm.shape != (count, 2) or self.turns_deg.shape != (count,):
            raise ValueError(f"shifts_mm must have shape ({count}, 2) and turns_deg ({count},)")

    def corrected(self, geometry: ConeBeamGeometry, times_s: ArrayLike) -> ConeBeamGeometry:
        """Given poses (V) with the movement at ``times_s`` (V,), s."""
        amounts = np.column_stack([self.shifts_mm, self.turns_deg])
        row, column, turn = (np.interp(np.asarray(times_s, float), self.times_s, values) for values in amounts.T)
        moved = geometry.shifted_detector(np.stack([row, column], 1) / np.array(geometry.detector_spacing_mm))
        return rolled_detector(moved, turn) if turn.any() else moved


@dataclass(frozen=True)
class Reconstruction:
    """Result of a method.

    Parameters
    ----------
    volume
        4D contrast attenuation on voxels, 1/mm.
    surface_threshold
        Attenuation (1/mm) at which :meth:`DynamicVolume.top_mean` is cut for the vessel
        surface; derived from the data by the method.
    gaussians
        The same attenuation as Gaussians, if the method works with them.
    pictures
        What the method fitted, if that is a model of pictures.
    native
        ``"volume"``, ``"gaussians"`` or ``"pictures"``: what the method fitted, and novel
        views of record are rendered from.
    vessel_probability
        (z, y, x) in [0, 1], if the method estimates it.
    maps
        Further volumes (z, y, x) by file name stem, e.g. ``{"confidence": ...}``.
    warnings
        (code, message) pairs, e.g. an assumption that did not hold.
    facts
        Numbers for the run record (iterations, final loss, support size ...).
    detector_motion
        Errors of the given poses that the method found and that hold between its views too.
    """

    volume: DynamicVolume
    surface_threshold: float
    gaussians: RadiativeGaussians | None = None
    native: str = "volume"
    vessel_probability: NDArray[np.float32] | None = None
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()
    facts: dict[str, float] = field(default_factory=dict)
    pictures: OpacityGaussians | None = None
    detector_motion: DetectorMotion | None = None

    @property
    def model(self) -> Model:
        """The model that novel views of record are rendered from."""
        models = {"gaussians": self.gaussians, "pictures": self.pictures}
        model = models.get(self.native)
        return self.volume if model is None else model

    def poses(self, geometry: ConeBeamGeometry, times_s: ArrayLike) -> ConeBeamGeometry:
        """Given poses of acquired frames (V) at ``times_s`` (V,), corrected by what the method found out about them."""
        return geometry if self.detector_motion is None else self.detector_motion.corrected(geometry, times_s)

    @property
    def scatter_share(self) -> float:
        """Share of scatter that the method took off the measured intensity (a fact); 0 = none."""
        return float(self.facts.get("scatter_share", 0.0))


def arrival_times(
    curves: NDArray[np.float32], times_s: ArrayLike, fraction: float = ARRIVAL_FRACTION
) -> NDArray[np.float32]:
    """First time (n,), s, at which curves (n, T) cross ``fraction`` of their maximum.

    Linear between samples; the first sample counts if it is already above. Curves
    without a positive value give NaN.
    """
    times = np.asarray(times_s, float)
    level = fraction * curves.max(1)
    first = (curves >= level[:, None]).argmax(1)
    before = np.maximum(first - 1, 0)
    row = np.arange(len(curves))
    low, high = curves[row, before], curves[row, first]
    share = np.where(high > low, (level - low) / np.where(high > low, high - low, 1), 1.0)
    result = (times[before] + np.clip(share, 0, 1) * (times[first] - times[before])).astype(np.float32)
    result[level <= 0] = np.nan
    return result
