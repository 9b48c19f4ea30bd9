"""Gaussians kept ready for pictures at any pose and time, one at a time: what the render server holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.splat.scene import SplatScene
from DSAReconLib.reconstruction import RadiativeGaussians
from DSAReconLib.rendering.images import contrast_window
from DSAReconLib.rendering.pose import ViewPose, pose_of_frame

_SAMPLE_SIDE = 192  # pixels of the pictures that the value range is taken from
_SAMPLE_FRAMES = 12


class SplatSession:
    """Line integrals of Gaussians, fast for one pose and time after the other.

    What does not depend on the pose is computed once, the amplitudes once per time. Not
    thread safe.

    Parameters
    ----------
    gaussians
        What is rendered.
    device
        ``"cpu"`` or a CUDA device.
    """

    def __init__(self, gaussians: RadiativeGaussians, device: str = "cpu") -> None:
        self.gaussians, self.device = gaussians, device
        self._scene = SplatScene(gaussians.means_mm, gaussians.scales_mm, gaussians.quats_wxyz, device=device)
        self._time_s: float | None = None
        self._amplitudes = np.zeros(len(gaussians), np.float32)

    def render(self, pose: ViewPose, time_s: float, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Line integrals (R, C), float32, at a pose and a time (s); fills ``out`` if it is given."""
        if time_s != self._time_s:
            self._amplitudes = self.gaussians.amplitudes(time_s)[0]
            self._time_s = time_s
        return self._scene.render(self._amplitudes, pose.geometry(), out)

    def value_range(self, geometry: ConeBeamGeometry, times_s: ArrayLike) -> tuple[float, float]:
        """Line integrals [low, high] that a display should show, from a dozen small pictures of the run."""
        times = np.atleast_1d(np.asarray(times_s, float))
        frames = np.unique(np.linspace(0, len(times) - 1, _SAMPLE_FRAMES).astype(int))
        sides = (_SAMPLE_SIDE, _SAMPLE_SIDE)
        pictures = [self.render(pose_of_frame(geometry, int(frame), sides), float(times[frame])) for frame in frames]
        return contrast_window(np.stack(pictures))

    def bounds_mm(self) -> tuple[list[float], list[float]]:
        """Lowest and highest corner of the Gaussians' centers, LPS mm; the isocenter if there are none."""
        means = self.gaussians.means_mm
        if not len(means):
            return [0.0] * 3, [0.0] * 3
        return means.min(0).tolist(), means.max(0).tolist()
