"""An acquired frame and what the reconstruction shows from there, at that time. Standard library and numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.jobs.render_client import RenderClient
from DSAReconLib.rendering.pose import pose_of_frame


@dataclass(frozen=True)
class FrameComparison:
    """Line integrals (R, C) of an acquired frame, of the novel view at its pose and time, and acquired - rendered."""

    acquired: NDArray[np.float32]
    rendered: NDArray[np.float32]
    difference: NDArray[np.float32]


def compare_with_acquired(
    client: RenderClient,
    geometry: ConeBeamGeometry,
    times_s: ArrayLike,
    frame: int,
    acquired: NDArray[np.float32],
    timeout_s: float = 10,
) -> FrameComparison:
    """An acquired frame beside the novel view of the same pose and time.

    Parameters
    ----------
    geometry, times_s
        Poses and times (F,), s, of the run, as in the result folder.
    frame
        Which one.
    acquired
        Its line integrals (R, C); may be binned, the field of view is that of ``geometry``.

    Raises
    ------
    IndexError
        No such frame.
    RenderServerError
        See :meth:`RenderClient.render`.
    """
    pose = pose_of_frame(geometry, frame, acquired.shape[:2])
    time = float(np.asarray(times_s, float)[frame])
    rendered = client.render(pose, time, timeout_s).line_integrals
    return FrameComparison(acquired, rendered, acquired - rendered)
