"""From the fitted model to what every method returns, and the maps that only this one gives."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels.sparse.gaussians import voxelize_gaussians
from DSAReconLib.methods.transit.refinement import GaussianState
from DSAReconLib.methods.transit.unsteady import UnsteadyFlow, modulated
from DSAReconLib.methods.transit.voxel_stage import TransitSolution
from DSAReconLib.reconstruction import DynamicVolume, RadiativeGaussians, TemporalBasis

_KEEP_FILLING = 3e-3
_MARGIN_MM = 2.0
_SURFACE = 0.265
"""Of the mean attenuation: in 27 results from 6 to 30 views Dice was at most 0.016 below that of the best cut."""
_OUTPUT_VOXELS, _OUTPUT_MIN_MM, _OUTPUT_MAX_MM = 0.75, 0.4, 0.5
"""Gaussians are finer than the voxels they came from: they are averaged over smaller ones, which hold thin vessels."""
_CURVE_SAMPLES = 101
_SAMPLE_S = 0.08
"""Step of curves under unsteady flow; the inlet curve is blurred over 0.2 s."""
_PROBABILITY_STEEPNESS = 3.0


def voxel_volume(solution: TransitSolution, basis: TemporalBasis) -> DynamicVolume:
    """Volume of the voxel stage, without the empty voxels."""
    keep = solution.filling > _KEEP_FILLING
    support = solution.support.subset(keep)
    return DynamicVolume(support.grid, np.compress(keep, solution.coefficients, axis=1), basis, support.flat_index)


def gaussian_volume(state: GaussianState, basis: TemporalBasis, box: VolumeGrid, spacing_mm: float) -> DynamicVolume:
    """Gaussians averaged over voxels in the part of ``box`` that they reach.

    The voxels are somewhat smaller than those of the sparse model (``spacing_mm``).
    """
    spacing_mm = min(max(_OUTPUT_VOXELS * spacing_mm, _OUTPUT_MIN_MM), _OUTPUT_MAX_MM, spacing_mm)
    grid = _reached(state, box.resampled(spacing_mm), _MARGIN_MM)
    every = np.arange(grid.num_voxels, dtype=np.int32).reshape(grid.shape_zyx)
    means, sigmas = state.means_mm, state.sigmas_mm
    total = np.ascontiguousarray(state.coefficients.sum(1, keepdims=True))
    filling = voxelize_gaussians(means, sigmas, total, grid.origin_mm, spacing_mm, every)[:, 0]
    return _averaged(state, basis, grid, np.flatnonzero(filling > _KEEP_FILLING))


def on_voxels_of(volume: DynamicVolume, state: GaussianState, basis: TemporalBasis) -> DynamicVolume:
    """The Gaussians averaged over the voxels of another volume."""
    assert volume.support is not None
    return _averaged(state, basis, volume.grid, volume.support)


def sampled_curves(
    state: GaussianState, basis: TemporalBasis, flow: UnsteadyFlow, plateau: float
) -> tuple[GaussianState, TemporalBasis]:
    """The same Gaussians with their curves under unsteady flow, linear between samples."""
    duration = float(basis.times_s[-1])
    times = np.linspace(0, duration, max(3, math.ceil(duration / _SAMPLE_S) + 1))
    curves = modulated(flow, state.coefficients, state.means_mm, basis, times).amplitudes.T
    hats = TemporalBasis(times, np.float32(plateau) * np.eye(len(times), dtype=np.float32))
    return replace(state, coefficients=np.ascontiguousarray(np.maximum(curves, 0) / np.float32(plateau))), hats


def _averaged(
    state: GaussianState, basis: TemporalBasis, grid: VolumeGrid, support: NDArray[np.int64]
) -> DynamicVolume:
    """Mean of the Gaussians over the listed voxels of a grid of cubic voxels."""
    index = np.full(grid.num_voxels, -1, np.int32)
    index[support] = np.arange(len(support))
    index = index.reshape(grid.shape_zyx)
    values = voxelize_gaussians(
        state.means_mm, state.sigmas_mm, state.coefficients, grid.origin_mm, grid.spacing_mm[0], index
    )
    return DynamicVolume(grid, np.ascontiguousarray(values.T), basis, support)


def radiative_gaussians(state: GaussianState, basis: TemporalBasis) -> RadiativeGaussians:
    """The Gaussians as the shared value type."""
    count = len(state.shapes)
    scales = np.repeat(state.sigmas_mm[:, None], 3, axis=1)
    quats = np.zeros((count, 4), np.float32)
    quats[:, 0] = 1
    return RadiativeGaussians(state.means_mm, scales, quats, np.ascontiguousarray(state.coefficients.T), basis)


def brightness(volume: DynamicVolume, duration_s: float) -> NDArray[np.float32]:
    """Mean attenuation (N,) of the volume's voxels in the fifth of the run in which each is brightest, 1/mm."""
    return volume.top_mean(np.linspace(0, duration_s, _CURVE_SAMPLES)).ravel()[volume.support]


def surface_threshold(bright: NDArray[np.float32], plateau: float) -> float:
    """Attenuation (1/mm) at which the brightness (N,) is cut for the vessel surface.

    About a quarter of the mean attenuation, weighted by its square: veins that fill late and thin
    vessels count as well, but not the haze that few views leave. Relative to the brightest voxels,
    the cut would lose veins where the run ends as they fill. Without any contrast it is a quarter
    of the inlet's ``plateau`` (1/mm).
    """
    if not bright.any():
        return 0.25 * plateau
    return _SURFACE * float(np.average(bright, weights=bright**2))


def vessel_probability(volume: DynamicVolume, bright: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Volume (z, y, x) in [0, 1] from the brightness (N,); 0.5 at the surface threshold."""
    powered = (bright / np.float32(threshold)) ** np.float32(_PROBABILITY_STEEPNESS)
    return volume.scatter(powered / (1 + powered))


def hemodynamic_maps(
    volume: DynamicVolume,
    density: NDArray[np.float32],
    delays_s: NDArray[np.float64],
    threshold: float,
    duration_s: float,
) -> dict[str, NDArray[np.float32]]:
    """Maps (z, y, x), NaN outside vessels.

    ``time_to_peak`` (s after the first frame), ``mean_transit_time`` (s after the inlet: mean of
    the transit density), ``blood_volume`` (opacified share of the voxel) and ``blood_flow``
    (largest transit density, 1/s: the share that one inlet second fills). ``density`` (K, N)
    are the shares of the volume's voxels that fill with each of the delays (K,).
    """
    times = np.linspace(0, duration_s, _CURVE_SAMPLES)
    count = volume.coefficients.shape[1]
    peak_time, inside = np.empty(count, np.float32), np.empty(count, bool)
    for start in range(0, count, 1 << 17):
        block = slice(start, min(start + (1 << 17), count))
        curves = volume.curves(times, block)
        peak_time[block] = times[curves.argmax(1)]
        inside[block] = curves.max(1) >= threshold
    filling = density.sum(0)
    step = float(delays_s[1] - delays_s[0]) if len(delays_s) > 1 else duration_s
    transit = (delays_s.astype(np.float32) @ density) / np.maximum(filling, np.float32(1e-9))
    maps = {
        "time_to_peak": peak_time,
        "mean_transit_time": transit,
        "blood_volume": filling,
        "blood_flow": density.max(0) / np.float32(step),
    }
    return {
        name: volume.scatter(np.where(inside, values, np.float32(np.nan)), fill=np.nan) for name, values in maps.items()
    }


def _reached(state: GaussianState, grid: VolumeGrid, margin_mm: float) -> VolumeGrid:
    """Smallest sub-grid that holds all Gaussians' centers and a margin."""
    shape = np.array(grid.shape_zyx[::-1])
    if not len(state.shapes):
        middle = shape // 2
        return grid.cropped(middle, middle + 1)
    index = grid.index_of(state.means_mm)
    margin = margin_mm / grid.spacing_mm[0]
    start = np.clip(np.floor(index.min(0) - margin), 0, shape - 1)
    stop = np.clip(np.ceil(index.max(0) + margin) + 1, start + 1, shape)
    return grid.cropped(start, stop)
