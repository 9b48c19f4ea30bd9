"""An acquired run as a sequence of frames with their angles and times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.angiogram import Angiogram
from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.mrml.context import SceneContext


@dataclass(frozen=True)
class RunNodes:
    """The nodes of one acquired run.

    Parameters
    ----------
    browser, sequence, proxy
        vtkMRMLSequenceBrowserNode, vtkMRMLSequenceNode (index ``time`` in ``s``) of
        single-slice vtkMRMLScalarVolumeNode, and the volume that shows the selected frame.
    times_s
        (F,), s.
    primary_angle_deg, secondary_angle_deg
        (F,), degrees, LAO and CRA positive.
    """

    browser: Any
    sequence: Any
    proxy: Any
    times_s: NDArray[np.float64]
    primary_angle_deg: NDArray[np.float64]
    secondary_angle_deg: NDArray[np.float64]


def load_run(context: SceneContext, run: RotationalRun | Angiogram, *, name: str = "") -> RunNodes:
    """Show an acquired run in the scene, upright in an axial view, with real-time playback.

    A ``RotationalRun`` is shown as detected (intensity, 16 bit), an ``Angiogram`` as contrast
    line integrals in the DSA look: vessels dark. Pixel size is that of the detector, mm.
    Every frame of the sequence has the attributes ``DSARecon.PrimaryAngleDeg``,
    ``DSARecon.SecondaryAngleDeg`` and ``DSARecon.TimeS``; the sequence has all of them as
    lists, which survive saving.
    """
    raise NotImplementedError


def run_of_sequence(context: SceneContext, sequence: Any) -> RunNodes | None:
    """The run behind a sequence node, also after reading a saved scene; ``None`` if it is none of ours."""
    raise NotImplementedError


def frame_at_angle(nodes: RunNodes, primary_angle_deg: float, secondary_angle_deg: float = 0.0) -> int:
    """Number of the frame whose direction is nearest to the given angles."""
    raise NotImplementedError
