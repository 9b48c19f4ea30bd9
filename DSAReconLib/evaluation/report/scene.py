"""What all pictures of a report share: frame, window, instants, views and points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.evaluation import image
from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.projections import Frontal, FrontalView
from DSAReconLib.evaluation.volume import curve_bound
from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.reconstruction import arrival_times

if TYPE_CHECKING:
    from DSAReconLib.io.truth import Truth

CINE_FRAMES = 24
STILLS = 6
POINTS = 4
WINDOW_SHARE = 0.8
"""Attenuation at full brightness, relative to that of a full vessel."""

_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Scene:
    """Choices that make the pictures of all results comparable.

    Parameters
    ----------
    frame, window
        Frontal frame, and attenuation (1/mm) at full brightness.
    arrival_range_s
        Times at the ends of the arrival colors.
    cine_times_s, still_times_s
        Instants of the film and of the grid of stills.
    heldout
        Positions along ``case.heldout`` of the pictured views.
    points_mm
        Vessel points (P, 3) whose curves are drawn, in order of arrival.
    """

    frame: Frontal
    window: float
    arrival_range_s: tuple[float, float]
    cine_times_s: NDArray[np.float64]
    still_times_s: NDArray[np.float64]
    heldout: NDArray[np.int64]
    points_mm: NDArray[np.float64]

    def seen(self, case: ReportCase, entries: Sequence[ReportEntry]) -> list[tuple[str, FrontalView]]:
        """Frontal views of the truth (if there is one) and of every result, with their names."""
        volumes = [] if case.truth is None else [("Truth", case.truth.volume)]
        volumes += [(entry.name, entry.reconstruction.volume) for entry in entries]
        return [(name, FrontalView(volume, self.frame, self.window)) for name, volume in volumes]


def compose(case: ReportCase, entries: Sequence[ReportEntry]) -> Scene:
    """The scene of a case."""
    vessels = _Vessels.of_truth(case.truth) if case.truth is not None else _Vessels.of_result(entries[0], case)
    margin = _MARGIN_MM if case.truth is not None else 2 * _MARGIN_MM  # thin vessels may be missed
    low, high = np.percentile(vessels.points_mm, (0.2, 99.8), axis=0)
    times = case.times_s
    contrast = case.angiogram.line_integrals.mean((1, 2))
    start = times[np.argmax(contrast >= 0.1 * contrast.max())]
    return Scene(
        frame=Frontal.around(low - margin, high + margin),
        window=WINDOW_SHARE * vessels.attenuation,
        arrival_range_s=tuple(np.nanpercentile(vessels.arrival_s, (1, 99))),
        cine_times_s=np.linspace(times[0], times[-1], CINE_FRAMES),
        still_times_s=np.linspace(start, times[-1], STILLS),
        heldout=_pictured_views(case),
        points_mm=vessels.typical_points(),
    )


def peak_curve(case: ReportCase) -> NDArray[np.float64]:
    """Mean line integral per frame (F,) over measured pixels."""
    measured = np.broadcast_to(np.isfinite(case.angiogram.variance), case.angiogram.line_integrals.shape)
    return np.array([frame[m].mean() for frame, m in zip(case.angiogram.line_integrals, measured, strict=True)])


@dataclass(frozen=True)
class _Vessels:
    """Points in vessels (P, 3) with arrival (P,), s, thickness (P,) for ranking, and full attenuation, 1/mm."""

    points_mm: NDArray[np.float64]
    arrival_s: NDArray[np.floating]
    thickness: NDArray[np.floating]
    attenuation: float

    @classmethod
    def of_truth(cls, truth: Truth) -> _Vessels:
        attenuation = float(np.percentile(truth.volume.coefficients.max(0), 99))
        return cls(truth.centerline_mm, truth.centerline_arrival_s, truth.centerline_radius_mm, attenuation)

    @classmethod
    def of_result(cls, entry: ReportEntry, case: ReportCase) -> _Vessels:
        volume = entry.reconstruction.volume
        bound = curve_bound(volume)
        level = 0.5 * min(entry.reconstruction.surface_threshold, float(bound.max(initial=0.0)))
        bright = np.flatnonzero(bound > level)
        if not len(bright) or level <= 0:
            return cls._of_nothing(volume.grid, case)
        bright = np.random.default_rng(0).permutation(bright)[:20_000]
        flat = bright if volume.support is None else volume.support[bright]
        curves = volume.curves(case.times_s, bright)
        arrival, peak = arrival_times(curves, case.times_s), curves.max(1)
        return cls(volume.grid.points_mm(flat), arrival, peak, float(np.percentile(peak, 99)))

    @classmethod
    def _of_nothing(cls, grid: VolumeGrid, case: ReportCase) -> _Vessels:
        """Stand-in for an empty result: its whole grid is shown."""
        x, y, z = (axis[[0, -1]] for axis in grid.axes_mm())
        corners = np.stack(np.meshgrid(x, y, z), -1).reshape(-1, 3)
        return cls(corners, np.linspace(case.times_s[0], case.times_s[-1], len(corners)), np.ones(len(corners)), 1.0)

    def typical_points(self) -> NDArray[np.float64]:
        """One point for each quarter of the vessels in order of arrival: thick there, and far from the others."""
        order = np.argsort(self.arrival_s, kind="stable")
        chosen: list[NDArray[np.float64]] = []
        for group in np.array_split(order, POINTS):
            thick = group[self.thickness[group] >= np.percentile(self.thickness[group], 70)] if len(group) else group
            if not len(thick):
                continue
            candidates = self.points_mm[thick]
            distance = [np.linalg.norm(candidates - point, axis=1) for point in chosen]
            best = int(np.min(distance, axis=0).argmax()) if chosen else len(thick) // 2
            chosen.append(candidates[best])
        return np.stack(chosen)


def _pictured_views(case: ReportCase) -> NDArray[np.int64]:
    """Two held-out views with contrast: one in the first and one in the second half of the bolus."""
    if not len(case.heldout):
        return np.empty(0, np.int64)
    heldout = case.angiogram.select(case.heldout)
    peaks = image.frame_peaks(heldout.line_integrals, heldout.variance)
    filled = np.flatnonzero(peaks >= image.MINIMUM_CONTRAST * image.contrast_range(peaks))
    if not len(filled):
        return np.empty(0, np.int64)
    return np.unique(filled[[int(0.3 * (len(filled) - 1)), int(0.75 * (len(filled) - 1))]])
