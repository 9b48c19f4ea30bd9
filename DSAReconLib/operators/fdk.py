"""Filtered backprojection for cone-beam views (Feldkamp, Davis, Kress, JOSA A 1984), in absolute units.

Everything is computed per view from its vectors, so irregular angles, wobble, detector
offset, tilt and roll need no special cases. With the source moving by ds per view, the
distance D from source to detector plane and the depth d of a voxel along the detector
normal,

    f(x) = sum_k D / d^2 * ramp( p * w * |component of ds perpendicular to the ray| ),

which for a circle and a centered detector is Feldkamp's formula: |ds| = sod * d_angle and
the perpendicular component is its cosine weight. ``w`` shares rays that were measured
twice: 1/2 for a full turn, Parker's weights for a short scan (D. L. Parker, Med. Phys.
9(2), 1982).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.geometry.orbit import SourceOrbit
from DSAReconLib.operators.conebeam import ConeBeamProjector

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
_BLOCK_VALUES = 1 << 22  # padded values per block of views: 16 MB per array
_BLOCK_UPDATES = 1 << 27  # voxels times views per block: 0.1 to 0.2 s on two cores, so that cancelling is prompt
_FEWEST_VIEWS = 4  # per block: below, adding up the volumes costs more than the backprojection
_FFT_WORKERS = 2
_TAPER_SHARE = 8  # an unmeasured border falls to zero within this share of the row


def ramp_response(samples: int, spacing_mm: float, window: str = "ram-lak", cutoff: float = 1.0) -> NDArray[np.float32]:
    """Frequency response of the band-limited ramp filter for rows that are zero-padded to ``samples``.

    Parameters
    ----------
    samples
        Padded length of a row.
    spacing_mm
        Pixel spacing.
    window
        Apodization, one of :data:`WINDOWS`.
    cutoff
        Frequency at which the window ends, as a fraction of the Nyquist frequency.

    Returns
    -------
    (samples // 2 + 1,) float32, 1/mm, for :func:`scipy.fft.rfft`.

    References
    ----------
    A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, 1988, eq. 3.61:
    sampled in space, so that the mean of a row is not lost.
    """
    import scipy.fft

    if window not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(WINDOWS)}; got {window!r}")
    if not 0 < cutoff <= 1:
        raise ValueError(f"cutoff must lie in (0, 1]; got {cutoff}")
    distance = np.arange(samples)
    distance = np.minimum(distance, samples - distance)
    kernel = np.zeros(samples)
    kernel[0] = 1 / (4 * spacing_mm**2)
    odd = distance % 2 == 1
    kernel[odd] = -1 / (np.pi * distance[odd] * spacing_mm) ** 2
    response = scipy.fft.rfft(kernel).real * spacing_mm
    relative = (
        np.linspace(0, 1, len(response)) / cutoff
        if samples % 2 == 0
        else np.arange(len(response)) * (2 / samples / cutoff)
    )
    shape = {
        "ram-lak": np.ones_like(relative),
        "shepp-logan": np.sinc(relative / 2),
        "cosine": np.cos(np.pi / 2 * relative),
        "hamming": 0.54 + 0.46 * np.cos(np.pi * relative),
        "hann": 0.5 + 0.5 * np.cos(np.pi * relative),
    }[window]
    return (response * np.where(relative <= 1 + 1e-9, shape, 0)).astype(np.float32)


def fan_angles(geometry: ConeBeamGeometry, orbit: SourceOrbit) -> NDArray[np.float64]:
    """Angle (V, C), rad, between each column's ray and the ray through the rotation axis.

    Seen along the axis, in the detector row on which the isocenter is projected. The sign
    is such that the ray (angle b, fan g) is measured again as (b + pi + 2 g, -g).
    """
    rows, columns = geometry.detector_shape
    center_row = geometry.project_points(np.zeros((1, 3)))[0][:, 0, 0]
    line = geometry.detector_center_mm + (center_row - (rows - 1) / 2)[:, None] * geometry.detector_v_mm
    offset = np.arange(columns) - (columns - 1) / 2
    ray = (line - geometry.source_mm)[:, None] + offset[:, None] * geometry.detector_u_mm[:, None]
    tangent = orbit.tangents(geometry)
    outward = np.cross(tangent, orbit.axis)
    return -np.arctan2(np.einsum("vci,vi->vc", ray, tangent), -np.einsum("vci,vi->vc", ray, outward))


def parker_weights(orbit: SourceOrbit, fan_rad: NDArray[np.float64]) -> NDArray[np.float32]:
    """Share (V, C) of every ray that was measured up to twice in an open arc; the shares of a ray sum to 1.

    Parker 1982, eq. 12, with the overscan that the arc really has (Silver 2000): valid
    from a half turn up to a full one. In arcs below a half turn plus the fan angle the
    outer rays that were never measured are missing, the others are still counted once.

    Parameters
    ----------
    orbit
        Of the V views.
    fan_rad
        From :func:`fan_angles`.
    """
    overscan = (orbit.range_rad - np.pi) / 2
    first = int(np.argmin(orbit.angle_rad))
    turn = (orbit.angle_rad - orbit.angle_rad[first] + orbit.width_rad[first] / 2)[:, None]
    rising, falling = overscan - fan_rad, overscan + fan_rad
    weights = np.ones(fan_rad.shape)
    early = (turn < 2 * rising) & (rising > 0)
    late = (turn > np.pi - 2 * fan_rad) & (falling > 0)
    weights[early] = _quarter_sine(np.broadcast_to(turn, fan_rad.shape)[early] / rising[early])
    weights[late] = _quarter_sine(np.broadcast_to(np.pi + 2 * overscan - turn, fan_rad.shape)[late] / falling[late])
    return weights.astype(np.float32)


def _quarter_sine(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sin(np.pi / 4 * np.clip(share, 0, 2)) ** 2


def fill_unmeasured(frames: NDArray[np.float32], measured: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Frames (n, R, C) whose pixels without measurement are filled along their row.

    Between measured pixels linearly, beyond the outermost one by a cosine fall to zero:
    a step there would become a streak in the ramp filter. Rows without any measurement
    are zero.
    """
    columns = np.arange(frames.shape[2])
    left = np.maximum.accumulate(np.where(measured, columns, -1), axis=2)
    right = np.minimum.accumulate(np.where(measured, columns, len(columns))[:, :, ::-1], axis=2)[:, :, ::-1]
    has_left, has_right = left >= 0, right < len(columns)
    clean = np.where(measured, frames, 0)
    low = np.take_along_axis(clean, np.maximum(left, 0), 2)
    high = np.take_along_axis(clean, np.minimum(right, len(columns) - 1), 2)
    share = (columns - left) / np.maximum(right - left, 1)
    reach = max(1, len(columns) // _TAPER_SHARE)
    distance = np.where(has_left, columns - left, right - columns)
    fall = 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / reach, 1))
    inside = has_left & has_right
    filled = np.where(inside, low + share * (high - low), np.where(has_left, low, high * has_right) * fall)
    return np.where(measured, frames, filled).astype(np.float32)


class FdkFilter:
    """FDK's weights and ramp filter for the views of one geometry.

    Parameters
    ----------
    geometry
        All V views of the reconstruction.
    window, cutoff
        Apodization of the ramp filter, see :func:`ramp_response`.
    parker
        Short-scan weights; without them an open arc counts twice-measured rays twice and
        is scaled by pi / arc (exact in the middle only).

    Attributes
    ----------
    orbit : SourceOrbit
    warnings : tuple of (code, message)
        What makes the result inexact.
    """

    def __init__(
        self, geometry: ConeBeamGeometry, *, window: str = "hann", cutoff: float = 1.0, parker: bool = True
    ) -> None:
        from scipy.fft import next_fast_len

        self.orbit = SourceOrbit.of(geometry)
        # rows are filtered along the source's motion; a panel turned by 90 degrees has it along columns
        tangent = self.orbit.tangents(geometry)
        along = [
            np.abs(np.einsum("vi,vi->v", step, tangent)).mean() / np.linalg.norm(step, axis=1).mean()
            for step in (geometry.detector_u_mm, geometry.detector_v_mm)
        ]
        self._transposed = along[1] > along[0]
        self._geometry = _transposed(geometry) if self._transposed else geometry
        columns = self._geometry.detector_shape[1]
        self._padded = int(next_fast_len(2 * columns, real=True))
        self._response = ramp_response(self._padded, self._geometry.detector_spacing_mm[1], window, cutoff)
        self.warnings, self._redundancy = self._redundancy_weights(parker)

    def _redundancy_weights(self, parker: bool) -> tuple[tuple[tuple[str, str], ...], NDArray[np.float32]]:
        """Warnings and the share (V, C) that every ray counts."""
        fan = fan_angles(self._geometry, self.orbit)
        arc, needed = self.orbit.range_rad, np.pi + 2 * float(np.abs(fan).max())
        if self.orbit.is_full_turn:
            return (), np.full(fan.shape, 0.5, np.float32)
        warnings: tuple[tuple[str, str], ...] = ()
        if arc < needed - 1e-3:
            warnings = (
                (
                    "fdk.short_arc",
                    f"The views cover {np.rad2deg(arc):.0f} degrees; {np.rad2deg(needed):.0f} degrees (half a turn "
                    "plus the fan angle) are needed. The attenuation is only approximate towards the border.",
                ),
            )
        if parker and arc >= np.pi:
            return warnings, parker_weights(self.orbit, fan)
        return warnings, np.full(fan.shape, np.pi / arc, np.float32)

    @property
    def block(self) -> int:
        """Number of views that are filtered at once within bounded memory."""
        return max(1, _BLOCK_VALUES // (self._geometry.detector_shape[0] * self._padded))

    def __call__(self, line_integrals: NDArray[np.float32], views: slice) -> NDArray[np.float32]:
        """Filtered projections (n, R, C), to be backprojected with weight 1 / depth^2.

        Parameters
        ----------
        line_integrals
            (n, R, C) of the views ``views`` of the geometry, finite.
        """
        from scipy.fft import irfft, rfft

        frames = line_integrals.swapaxes(1, 2) if self._transposed else line_integrals
        weighted = frames * self._ray_weights(views)
        spectrum = rfft(weighted, self._padded, axis=2, workers=_FFT_WORKERS)
        spectrum *= self._response
        filtered = irfft(spectrum, self._padded, axis=2, workers=_FFT_WORKERS)[:, :, : frames.shape[2]]
        return np.ascontiguousarray(filtered.swapaxes(1, 2) if self._transposed else filtered, np.float32)

    def _ray_weights(self, views: slice) -> NDArray[np.float32]:
        """D * w * |component of ds perpendicular to the ray| per pixel (n, R, C)."""
        geometry = self._geometry[views]
        rows, columns = geometry.detector_shape
        lengths = [np.linalg.norm(step, axis=1) for step in (geometry.detector_u_mm, geometry.detector_v_mm)]
        unit_u, unit_v = geometry.detector_u_mm / lengths[0][:, None], geometry.detector_v_mm / lengths[1][:, None]
        normal = geometry.detector_normal
        foot = geometry.detector_center_mm - geometry.source_mm
        u = np.einsum("vi,vi->v", foot, unit_u)[:, None] + np.outer(lengths[0], np.arange(columns) - (columns - 1) / 2)
        v = np.einsum("vi,vi->v", foot, unit_v)[:, None] + np.outer(lengths[1], np.arange(rows) - (rows - 1) / 2)
        u, v = u[:, None, :].astype(np.float32), v[:, :, None].astype(np.float32)
        # Two lengths are kept although the motion and the filtered rows are not quite parallel, because only so
        # the level of compact objects stays right (RTK does the same): |source| instead of its distance from the
        # axis (tilted C-arm: a cone of frequencies is never measured), and all of the motion within the detector
        # plane instead of its part along the rows (rolled detector).
        step = (
            self.orbit.tangents(geometry)
            * (np.linalg.norm(geometry.source_mm, axis=1) * self.orbit.width_rad[views])[:, None]
        )
        along_n = np.einsum("vi,vi->v", step, normal)
        in_plane = np.linalg.norm(step - along_n[:, None] * normal, axis=1)
        in_plane = np.copysign(in_plane, np.einsum("vi,vi->v", step, unit_u))
        d, s_n, s_u = (x[:, None, None].astype(np.float32) for x in (geometry.sdd_mm, along_n, in_plane))
        across = np.abs(s_u - u * d * s_n / (d**2 + v**2)) / np.sqrt(d**2 + u**2 + v**2)
        share = self._redundancy[views][:, None, :]
        return np.asarray(d**2 * across * share, np.float32)


def reconstruct_fdk(
    line_integrals: NDArray[np.float32],
    geometry: ConeBeamGeometry,
    grid: VolumeGrid,
    fdk_filter: FdkFilter,
    *,
    variance: NDArray[np.float32] | None = None,
    device: str = "cpu",
    progress: Progress,
    stage: str = "fdk",
) -> NDArray[np.float32]:
    """Attenuation (Z, Y, X), 1/mm, by filtered backprojection.

    Parameters
    ----------
    line_integrals
        (V, R, C).
    geometry, grid
        Poses of the views and voxels of the result.
    fdk_filter
        Filter made for ``geometry``.
    variance
        Broadcastable to (V, R, C); not finite where there is no measurement
        (:func:`fill_unmeasured`).
    device
        ``"cpu"`` or ``"cuda[:i]"``.
    progress, stage
        Where progress is reported and cancelling is asked for, once per block of views.
    """
    projector = ConeBeamProjector(grid, geometry, device)
    block = min(fdk_filter.block, max(_FEWEST_VIEWS, _BLOCK_UPDATES // grid.num_voxels))
    total: Any = None
    for start in range(0, len(geometry), block):
        progress.check_cancelled()
        views = slice(start, min(start + block, len(geometry)))
        frames = _measured_frames(line_integrals, variance, views)
        part = projector[views].backproject_fdk(_on_device(fdk_filter(frames, views), device))
        if total is None:
            total = part
        else:
            total += part
        progress.report(stage, views.stop / len(geometry), f"view {views.stop} of {len(geometry)}")
    return total if isinstance(total, np.ndarray) else np.asarray(total.cpu().numpy())


def _measured_frames(
    line_integrals: NDArray[np.float32], variance: NDArray[np.float32] | None, views: slice
) -> NDArray[np.float32]:
    """Frames of a block without gaps."""
    frames = line_integrals[views]
    measured = np.isfinite(frames)
    if variance is not None:
        spread = variance if variance.ndim < 3 or len(variance) == 1 else variance[views]
        measured = measured & np.isfinite(spread)
    return frames if measured.all() else fill_unmeasured(frames, measured)


def _on_device(frames: NDArray[np.float32], device: str) -> Any:
    """Array for the CPU; tensor on a CUDA device, so that the volume stays there between blocks."""
    if device == "cpu":
        return frames
    import torch

    return torch.from_numpy(frames).to(device)


def _transposed(geometry: ConeBeamGeometry) -> ConeBeamGeometry:
    """The same detector with rows and columns exchanged."""
    return ConeBeamGeometry(
        geometry.source_mm,
        geometry.detector_center_mm,
        geometry.detector_v_mm,
        geometry.detector_u_mm,
        geometry.detector_shape[::-1],
    )
