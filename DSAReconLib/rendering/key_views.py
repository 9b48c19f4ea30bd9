"""Key views of a result: standard projections, colored by the arrival of the bolus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.operators.conebeam import ConeBeamProjector
from DSAReconLib.rendering.images import colored, contrast_window, pillow_image
from DSAReconLib.rendering.pose import angle_text, pose_from_angles

if TYPE_CHECKING:
    from DSAReconLib.progress import Progress

KEY_ANGLES_DEG = ((0.0, 0.0), (45.0, 0.0), (90.0, 0.0), (-45.0, 0.0), (0.0, 30.0), (0.0, -30.0))
"""Primary and secondary angles: frontal, both obliques, lateral, cranial, caudal."""

_SIDE_PX = 512
_GAMMA = 0.6  # small vessels stay visible beside large ones
_DARKEST = 0.12  # share of the colormap left out at both ends
_MARGIN_PX, _BAR_PX = 12, 10


def key_views(
    peak: NDArray[np.float32],
    arrival_s: NDArray[np.float32],
    grid: VolumeGrid,
    reference: ConeBeamGeometry,
    *,
    angles_deg: Sequence[tuple[float, float]] = KEY_ANGLES_DEG,
    note: str = "",
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """RGB pictures (P, R, C, 3) on black, 512 pixels on the longer side, and their captions in ASCII.

    Brightness is the line integral of ``peak`` (z, y, x), 1/mm; color the mean arrival time,
    s, along the ray, weighted by ``peak``. Without finite ``arrival_s`` the pictures are
    grey. Angles, a scale of the times and ``note`` are written into them. Distances and
    field of view are those of ``reference``.

    Raises
    ------
    DependencyError
        Pillow is not installed.
    """
    pillow_image()
    known = np.isfinite(arrival_s)
    time_range = tuple(np.percentile(arrival_s[known], (2, 98)).tolist()) if known.any() else None
    weighted = np.where(known, peak * np.where(known, arrival_s, 0), 0).astype(np.float32)
    pictures, captions = [], []
    shape = _picture_shape(reference)
    views = [pose_from_angles(reference, *angles, shape=shape).geometry() for angles in angles_deg]
    shown = np.where(known, peak, 0).astype(np.float32) if time_range else np.maximum(peak, 0)
    for number, (angles, view) in enumerate(zip(angles_deg, views)):
        if progress is not None:
            progress.check_cancelled()
            progress.report("render", number / len(views), "key views")
        projector = ConeBeamProjector(grid, view, device)
        brightness = np.asarray(projector(shown))[0]
        mean = np.asarray(projector(weighted))[0] / np.maximum(brightness, 1e-12) if time_range else None
        picture = _shaded(brightness, mean, time_range)
        captions.append(_caption(angles, time_range))
        pictures.append(_annotated(picture, angle_text(*angles), time_range, note))
    return np.stack(pictures), captions


def _picture_shape(reference: ConeBeamGeometry) -> tuple[int, int]:
    """Rows and columns of square pixels over the field of view, the longer side 512."""
    extent = np.array(reference.detector_shape) * np.array(reference.detector_spacing_mm)
    rows, columns = np.maximum(1, np.rint(_SIDE_PX * extent / extent.max()).astype(int)).tolist()
    return rows, columns


def _shaded(
    brightness: NDArray[np.float32], mean_s: NDArray[np.float32] | None, time_range: tuple[float, ...] | None
) -> NDArray[np.uint8]:
    """RGB (R, C, 3) of a projection."""
    relative = np.clip(brightness / contrast_window(brightness[None])[1], 0, 1) ** _GAMMA
    if mean_s is None or time_range is None:
        return np.repeat(np.rint(255 * relative).astype(np.uint8)[..., None], 3, -1)
    low, high = time_range
    return np.rint(relative[..., None] * _arrival_color((mean_s - low) / max(high - low, 1e-6))).astype(np.uint8)


def _arrival_color(relative: NDArray[np.floating]) -> NDArray[np.uint8]:
    """RGB (..., 3) of a time between the ends, 0 to 1, without the dark ends of the colormap, which black swallows."""
    return colored(_DARKEST + (1 - 2 * _DARKEST) * np.clip(relative, 0, 1), (0.0, 1.0))


def _caption(angles: tuple[float, float], time_range: tuple[float, ...] | None) -> str:
    """The same words in ASCII."""
    text = angle_text(*angles).replace("°", "")
    return f"{text}, color = arrival {time_range[0]:.2f} to {time_range[1]:.2f} s" if time_range else text


def _annotated(
    picture: NDArray[np.uint8], angles: str, time_range: tuple[float, ...] | None, note: str
) -> NDArray[np.uint8]:
    """The picture with its angles, a color scale in s, and the note."""
    from PIL import ImageDraw

    image = pillow_image().fromarray(picture)
    draw = ImageDraw.Draw(image)
    right, bottom = picture.shape[1] - _MARGIN_PX, picture.shape[0] - _MARGIN_PX
    draw.text((_MARGIN_PX, _MARGIN_PX), angles, fill=(255, 255, 255))
    draw.text((_MARGIN_PX, bottom - 10), note, fill=(160, 160, 160))
    if time_range:
        top, height = picture.shape[0] // 4, picture.shape[0] // 2
        scale = _arrival_color(np.linspace(1, 0, height))
        image.paste(pillow_image().fromarray(np.repeat(scale[:, None], _BAR_PX, 1)), (right - _BAR_PX, top))
        for value, row in ((time_range[1], top - 14), (time_range[0], top + height + 2)):
            draw.text((right - 40, row), f"{value:.2f} s", fill=(255, 255, 255))
    return np.asarray(image, np.uint8)
