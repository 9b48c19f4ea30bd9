"""Subtracted frames of the acquired runs, for comparison with novel views."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.trajectory import beam_directions
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.mrml.run import frame_at_angle, run_of_sequence


class AcquiredFrames:
    """Contrast line integrals of single frames, made from the two runs in the scene.

    Parameters
    ----------
    context
        Scene.
    maskRun, fillRun
        Sequence nodes of the runs.

    Raises
    ------
    ValueError
        One of the nodes is no run.
    """

    def __init__(self, context: Any, maskRun: Any, fillRun: Any) -> None:
        self._mask, self._fill = run_of_sequence(context, maskRun), run_of_sequence(context, fillRun)
        if self._mask is None or self._fill is None:
            raise ValueError("both nodes must be rotational runs")

    def frame(self, number: int) -> NDArray[np.float32] | None:
        """Line integrals (R, C) of a frame of the fill run; ``None`` if the runs have lost it.

        The mask frame with the nearest angles is subtracted, without registration, and the
        median of the difference, which is exposure: a picture to look at.
        """
        angles = self._fill.primary_angle_deg, self._fill.secondary_angle_deg
        if not 0 <= number < len(angles[0]):
            return None
        partner = frame_at_angle(self._mask, float(angles[0][number]), float(angles[1][number]))
        fill, mask = _pixels(self._fill.sequence, number), _pixels(self._mask.sequence, partner)
        if fill is None or mask is None or fill.shape != mask.shape:
            return None
        contrast = np.log(np.maximum(mask, 1)) - np.log(np.maximum(fill, 1))
        return (contrast - np.median(contrast)).astype(np.float32)


def nearestFrame(geometry: ConeBeamGeometry, timesS: NDArray[np.float64], direction: Any, timeS: float) -> int:
    """Frame nearest in angle and time; the whole arc counts as much as the whole run.

    Parameters
    ----------
    geometry, timesS
        The run.
    direction
        Unit vector (3,) from source to detector, LPS.
    """
    directions = beam_directions(geometry)
    turned = np.arccos(np.clip(directions @ np.asarray(direction, float), -1, 1))
    arc = max(float(np.arccos(np.clip(directions @ directions[0], -1, 1)).max()), 1e-6)
    late = (timesS - timeS) / max(float(np.ptp(timesS)), 1e-6)
    return int(np.argmin((turned / arc) ** 2 + late**2))


def _pixels(sequence: Any, number: int) -> NDArray[np.float32] | None:
    from vtk.util.numpy_support import vtk_to_numpy

    volume = sequence.GetNthDataNode(number)
    image = volume.GetImageData() if volume is not None else None
    if image is None:
        return None
    columns, rows, _depth = image.GetDimensions()
    pixels: NDArray[np.float32] = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns)
    return pixels.astype(np.float32)
