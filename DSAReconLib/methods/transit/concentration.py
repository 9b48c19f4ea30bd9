"""Thin vessels drawn as narrow as their mass tells.

A vessel thinner than the pixels comes out with the right mass but spread over several Gaussians
side by side: too wide, and too faint to pass a threshold. Opacified blood has one concentration,
so that the mass per length tells the radius, and the Gaussians can be gathered at the ridge of
their density (subspace-constrained mean shift, Ozertem and Erdogmus 2011) until their spread is
that of such a vessel. What moves is small against the pixels: the images hardly change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.sparse.clouds import PointCloud
from DSAReconLib.methods.transit.refinement import GaussianState

_BANDWIDTH_VOXELS = 1.1
"""Standard deviation of the kernel that the density of the Gaussians is seen through."""
_REACH = 2.5
"""The kernel ends at this many standard deviations ..."""
_REACH_ACROSS = 1.5
"""... and the cross-section of a line at this many."""
_SHIFTS = 3
_THIN_VOXELS, _THICK_VOXELS = 0.5, 1.1
"""Vessels of up to this radius are gathered altogether, wider ones less and less, and above the second not at all."""
_SHEET_SHARE, _LINE_SHARE = 0.2, 0.4
"""Mass whose largest variance exceeds the second by more than the second share of itself is a line, by less than the
first a sheet or a blob, which is not gathered: a wide vessel seen from one side only is no bundle of thin ones."""
_WIDTH_RADII = 0.63
"""Standard deviation of a thin vessel's cross-section, in radii: with 0.71 its middle is as bright as a full vessel."""
_WIDTH_MIN_VOXELS = 0.15
_PIECES = 3
_PIECES_VARIANCE = (_PIECES**2 - 1) / 12
"""Of 3 positions one apart."""
_LENGTH_VOXELS = 0.6
"""A Gaussian of a thin vessel becomes pieces along it that reach this far (standard deviation)."""
_MASS_MIN = _VARIANCE_MIN = 1e-12
_SYMMETRIC = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Entries of a symmetric matrix in the list of its upper triangle."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Concentration:
    """Gaussians in place of others; each stands for a part of one of them.

    Parameters
    ----------
    owner
        The Gaussian (M,) that each of the M stands for.
    shapes
        Center (mm) and log standard deviation (M, 4).
    share
        Its coefficients relative to those of the owner (M,).
    """

    owner: NDArray[np.intp]
    shapes: NDArray[np.float32]
    share: NDArray[np.float32]

    def of(self, state: GaussianState) -> GaussianState:
        """The Gaussians that replace those of ``state``, to be drawn, not refined (they have no moments of Adam)."""
        return replace(state, shapes=self.shapes, coefficients=state.coefficients[self.owner] * self.share[:, None])


@dataclass(frozen=True)
class _Lines:
    """The lines that Gaussians lie on.

    Direction (N, 3), way to the ridge (N, 3) in mm, radius (N,) in mm, and how much of a line it is (N,), 0 to 1.
    """

    direction: Points
    way_mm: Points
    radius_mm: NDArray[np.float64]
    likeness: NDArray[np.float64]

    def thinness(self, spacing_mm: float) -> NDArray[np.float64]:
        """1 for thin vessels, 0 for thick ones and for what is no line (N,)."""
        thin = (_THICK_VOXELS - self.radius_mm / spacing_mm) / (_THICK_VOXELS - _THIN_VOXELS)
        return np.clip(thin, 0, 1) * self.likeness


def gathered(state: GaussianState, spacing_mm: float) -> GaussianState:
    """The Gaussians with those of thin vessels moved to the ridges of their density."""
    shapes = state.shapes.copy()
    shapes[:, :3] = _ridge(state, spacing_mm)
    return replace(state, shapes=shapes)


def concentrated(state: GaussianState, spacing_mm: float) -> Concentration:
    """Gaussians that keep every mass, but draw thin vessels with the radius that their mass per length tells.

    Parameters
    ----------
    state
        Gaussians whose coefficients are shares of fully opacified blood.
    spacing_mm
        Voxel size of the sparse model that they came from: the unit of lengths.
    """
    sigma, mass = state.sigmas_mm.astype(float), state.volumes_mm3.astype(float)
    ridge = _ridge(state, spacing_mm)
    lines = _lines(ridge, mass, spacing_mm)
    thinness = lines.thinness(spacing_mm)
    narrow = np.maximum(_WIDTH_RADII * lines.radius_mm, _WIDTH_MIN_VOXELS * spacing_mm)
    width = narrow**thinness * sigma ** (1 - thinness)
    length = np.maximum(thinness * _LENGTH_VOXELS * spacing_mm + (1 - thinness) * sigma, width)
    # pieces of standard deviation width that together have the standard deviation length along the line
    pieces = np.where(thinness > 0, _PIECES, 1)
    owner = np.repeat(np.arange(len(ridge)), pieces)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces) - (pieces[owner] - 1) / 2
    along = step * np.sqrt((length**2 - width**2) / _PIECES_VARIANCE)[owner]
    centers = ridge[owner] + along[:, None] * lines.direction[owner]
    shapes = np.concatenate([centers, np.log(width[owner])[:, None]], 1).astype(np.float32)
    share = ((sigma / width) ** 3 / pieces)[owner]
    return Concentration(owner, shapes, share.astype(np.float32))


def _ridge(state: GaussianState, spacing_mm: float) -> Points:
    """Centers (N, 3), those of thin vessels moved to the ridges."""
    ridge, mass = state.means_mm.astype(float), state.volumes_mm3.astype(float)
    for _ in range(_SHIFTS):
        lines = _lines(ridge, mass, spacing_mm)
        ridge = ridge + lines.thinness(spacing_mm)[:, None] * lines.way_mm
    return ridge


def _lines(points: Points, mass: NDArray[np.float64], spacing_mm: float) -> _Lines:
    """Local lines at points (N, 3) with masses (N,), mm^3."""
    bandwidth = _BANDWIDTH_VOXELS * spacing_mm
    cloud = PointCloud(points, mass, _REACH * bandwidth)
    sums = cloud.moments(bandwidth)
    sums[1:] /= np.maximum(sums[0], _MASS_MIN)
    mean = sums[1:4].T
    spread = sums[4:][_SYMMETRIC].T - mean[:, :, None] * mean[:, None]
    variance, axes = np.linalg.eigh(spread)
    direction = axes[:, :, 2]
    excess = 1 - variance[:, 1] / np.maximum(variance[:, 2], _VARIANCE_MIN)
    likeness = np.clip((excess - _SHEET_SHARE) / (_LINE_SHARE - _SHEET_SHARE), 0, 1)
    mass_per_mm = cloud.mass_along(direction, bandwidth, _REACH_ACROSS * bandwidth)
    mass_per_mm /= math.sqrt(2 * math.pi) * bandwidth
    return _Lines(direction, _across(mean, direction), np.sqrt(mass_per_mm / math.pi), likeness)


def _across(vectors: Points, direction: Points) -> Points:
    """The part of vectors (N, 3) that is perpendicular to directions (N, 3)."""
    return vectors - (vectors * direction).sum(1, keepdims=True) * direction
