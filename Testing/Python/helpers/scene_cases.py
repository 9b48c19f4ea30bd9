"""Scenes on slicer-core and result folders made of the simulation's truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers.cases import small_case

from DSAReconLib.io.result_folder import write_result
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

SOURCE_UIDS = ["1.2.3.4.1", "1.2.3.4.2"]
VIEWS = 12


def truth():
    """Truth of the tiny simulated case: a tree without any symmetry."""
    return small_case(views=VIEWS, detector=32)[2]


def write_truth_result(
    folder: Path, *, static: bool = False, title: str = "Truth", times: int = 6, frames: int = 12
) -> Path:
    """A result folder whose attenuation is the simulation's truth, cropped off center."""
    case = truth()
    volume = _cropped(case.volume, times)
    if static:
        peak = volume.peak(volume.basis.times_s).ravel()[volume.support]
        volume = DynamicVolume(volume.grid, peak[None], TemporalBasis.constant(), volume.support)
    reconstruction = Reconstruction(
        volume=volume,
        surface_threshold=0.35 * float(volume.coefficients.max()),
        maps={} if static else {"time_to_peak": _time_to_peak(volume)},
    )
    record = {
        "method": "truth",
        "title": title,
        "selected_views": list(range(VIEWS)),
        "heldout_views": [],
        "input_sop_instance_uids": SOURCE_UIDS,
    }
    return write_result(
        folder,
        reconstruction,
        record=record,
        geometry=case.geometry,
        times_s=case.frame_times_s,
        sequence_times_s=None if static else np.linspace(case.frame_times_s[0], case.frame_times_s[-1], frames),
        overwrite=True,
    )


def _cropped(volume: DynamicVolume, times: int) -> DynamicVolume:
    """The vessels' box with a margin that differs from side to side, and few times."""
    shape = np.array(volume.grid.shape_zyx)
    index = np.stack(np.unravel_index(volume.support, shape), -1)
    low = np.maximum(index.min(0) - np.array([1, 2, 3]), 0)
    high = np.minimum(index.max(0) + np.array([3, 2, 4]), shape)
    grid = volume.grid.cropped(low[::-1], high[::-1])
    support = np.ravel_multi_index(tuple((index - low).T), grid.shape_zyx)
    knots = np.linspace(volume.basis.times_s[0], volume.basis.times_s[-1], times)
    coefficients = np.ascontiguousarray(volume.curves(knots).T)
    return DynamicVolume(grid, coefficients, TemporalBasis.hats(knots), support)


def _time_to_peak(volume: DynamicVolume) -> np.ndarray:
    return volume.scatter(volume.basis.times_s[volume.coefficients.argmax(0)].astype(np.float32), fill=np.nan)
