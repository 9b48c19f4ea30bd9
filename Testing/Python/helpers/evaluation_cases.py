"""A tube with a bolus running through it: truth with known answers."""

import numpy as np

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.io.truth import Truth
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

ATTENUATION = 0.14
TIMES_S = np.linspace(0, 4, 41)


def tube_occupancy(grid: VolumeGrid, radius_mm: float, half_length_mm: float, shift_mm=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Vessel fraction (z, y, x) of a tube along x, smooth over one voxel."""
    x, y, z = (axis - s for axis, s in zip(grid.axes_mm(), shift_mm, strict=True))
    radial = np.hypot(z[:, None, None], y[None, :, None])
    side = np.clip((radius_mm - radial) / grid.spacing_mm[0] + 0.5, 0, 1)
    end = np.clip((half_length_mm - np.abs(x)) / grid.spacing_mm[0] + 0.5, 0, 1)
    return (side * end).astype(np.float32)


def bolus(times_s, arrival_s) -> np.ndarray:
    """Curves (n, T): ramp of 0.4 s to a plateau, half-rise at ``arrival_s`` (n,)."""
    return np.clip((times_s - np.asarray(arrival_s)[:, None]) / 0.4 + 0.5, 0, 1).astype(np.float32)


def tube_volume(grid: VolumeGrid, occupancy: np.ndarray, delay_s: float = 0.0, scale: float = 1.0) -> DynamicVolume:
    """The bolus reaches x at 1.5 s + x / (20 mm/s) + delay."""
    support = np.flatnonzero(occupancy > 0)
    arrival = 1.5 + grid.points_mm(support)[:, 0] / 20 + delay_s
    coefficients = bolus(TIMES_S, arrival).T * occupancy.reshape(-1)[support] * np.float32(ATTENUATION * scale)
    return DynamicVolume(grid, coefficients, TemporalBasis.hats(TIMES_S), support)


def tube_truth(radius_mm: float = 1.5, half_length_mm: float = 12.0) -> Truth:
    grid = VolumeGrid.centered((32, 32, 100), 0.3)
    occupancy = tube_occupancy(grid, radius_mm, half_length_mm)
    x = np.arange(-half_length_mm, half_length_mm + 0.01, 0.25)
    return Truth(
        volume=tube_volume(grid, occupancy),
        occupancy=occupancy,
        arrival_s=np.where(occupancy > 0, 1.5 + grid.axes_mm()[0] / 20, np.nan).astype(np.float32),
        centerline_mm=np.stack([x, 0 * x, 0 * x], -1),
        centerline_radius_mm=np.full(len(x), radius_mm),
        centerline_branch=np.zeros(len(x), int),
        centerline_arrival_s=(1.5 + x / 20).astype(np.float32),
        frame_times_s=TIMES_S,
    )


def tube_reconstruction(
    *, shift_mm=(0.0, 0.0, 0.0), delay_s=0.0, scale=1.0, radius_mm=1.5, dense=False, spacing_mm=0.5
) -> Reconstruction:
    """The tube on a coarser grid that does not share voxels with the truth."""
    grid = VolumeGrid.centered((40, 40, 70), spacing_mm, (0.1, -0.05, 0.13))
    volume = tube_volume(grid, tube_occupancy(grid, radius_mm, 12.0, shift_mm), delay_s, scale)
    if dense:
        coefficients = np.zeros((len(volume.basis), grid.num_voxels), np.float32)
        coefficients[:, volume.support] = volume.coefficients
        volume = DynamicVolume(grid, coefficients, volume.basis)
    return Reconstruction(volume, surface_threshold=ATTENUATION * scale / 2)
