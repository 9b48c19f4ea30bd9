"""What a report is about: the acquisition, and the results that were made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition import Angiogram, RotationalRun
from DSAReconLib.reconstruction import Model, Reconstruction

if TYPE_CHECKING:
    from DSAReconLib.io.truth import Truth


@dataclass(frozen=True)
class ReportCase:
    """The acquisition that a report is about. Nothing in it may identify a patient.

    Parameters
    ----------
    title
        Heading of the report.
    angiogram
        Contrast line integrals of *all* fill frames, used or not.
    selected, heldout
        Positions along ``angiogram`` of the views used and of the views kept back.
    mask_run, fill_run
        The runs, for pictures of the raw frames; may be left out.
    truth
        Of a simulated acquisition.
    reference_mm
        Vertices (P, 3) of a reference surface in LPS, mm, if the case brings one.
    facts
        Further lines for the list of facts, name to text.
    """

    title: str
    angiogram: Angiogram
    selected: NDArray[np.int64]
    heldout: NDArray[np.int64]
    mask_run: RotationalRun | None = None
    fill_run: RotationalRun | None = None
    truth: Truth | None = None
    reference_mm: NDArray[np.float32] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Times (F,) of all frames, s."""
        return self.angiogram.times_s

    @property
    def clean(self) -> NDArray[np.float32] | None:
        """Noise-free line integrals (F, R, C) of all frames, if a truth has them for this detector."""
        clean = None if self.truth is None else self.truth.clean_line_integrals
        if clean is None or clean.shape[1:] != self.angiogram.geometry.detector_shape:
            return None
        return clean[self.angiogram.frame_index]


@dataclass(frozen=True)
class ReportEntry:
    """One result in a report.

    Parameters
    ----------
    name
        Short name, e.g. the method's title.
    reconstruction
        The result.
    metrics
        Names of :mod:`~DSAReconLib.evaluation.protocol` to values; may be empty.
    record
        Content of ``run.json``: ``timings_s``, ``processor_s``, ``peak_memory_mb``, ``versions``,
        ``device``, ``config``, ``warnings`` ... are shown where they exist.
    rendered
        Line integrals (H, R, C) rendered at ``case.heldout``; rendered for the pictured
        views if not given.
    slot
        Its color, where the position among the results is not meant.
    """

    name: str
    reconstruction: Reconstruction
    metrics: Mapping[str, float | None]
    record: Mapping[str, Any]
    rendered: NDArray[np.float32] | None = None
    slot: int | None = None

    @property
    def model(self) -> Model:
        """What novel views of record are rendered from."""
        return self.reconstruction.model

    @property
    def values(self) -> dict[str, float | None]:
        """Metrics together with times, memory and the voxel size (side of a cube of equal volume)."""
        timings = dict(self.record.get("timings_s") or {})
        costs = {
            "reconstruction_s": timings.get("reconstruct"),
            "processor_s": (self.record.get("processor_s") or {}).get("reconstruct"),
            "total_s": float(sum(timings.values())) if timings else None,
            "peak_memory_mb": self.record.get("peak_memory_mb"),
            "voxel_mm": float(np.prod(self.reconstruction.volume.grid.spacing_mm) ** (1 / 3)),
        }
        return {**costs, **self.metrics}
