"""How well rendered line integrals agree with reference images.

Two protocols, because each one hides something: the papers' per-image normalization is
blind to scale errors, and a fixed range needs a reference with a known range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SSIM_WINDOW = 7
"""Side of the uniform SSIM window, px (skimage's default, used by VPAL and 4DRGS)."""

MINIMUM_CONTRAST = 0.1
"""Frames whose largest reference value stays below this share of the data range are skipped."""

NOISE_LIMIT = 5.0
"""Standard deviations above which a pixel counts as contrast: some 0.02 false pixels per 256 x 256 frame."""

Image = NDArray[np.float32]


def normalized(image: Image, measured: NDArray[np.bool_] | None = None) -> Image:
    """Image clipped at 0 and scaled to [0, 1] by its own extremes (VPAL, 4DRGS).

    Parameters
    ----------
    image
        Line integrals (R, C).
    measured
        Pixels (R, C) that count for the extremes; all others become 0.

    Returns
    -------
    (R, C) in [0, 1]; a constant image becomes 0.
    """
    clipped = np.clip(image, 0, None)
    inside = clipped if measured is None else clipped[measured]
    low, span = (float(inside.min()), float(np.ptp(inside))) if inside.size else (0.0, 0.0)
    if span <= 0:
        return np.zeros_like(clipped)
    scaled = (clipped - low) / span
    return scaled if measured is None else np.where(measured, scaled, 0).astype(scaled.dtype)


def psnr_db(prediction: Image, reference: Image, data_range: float, measured: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio, 10 log10(range^2 / mean (prediction - reference)^2), dB.

    ``inf`` for identical images. ``measured`` (R, C) limits the mean to these pixels.
    """
    error = np.subtract(prediction, reference, dtype=np.float64)
    if measured is not None:
        error = error[measured]
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(data_range**2 / np.mean(error**2)))


def ssim(prediction: Image, reference: Image, data_range: float, measured: NDArray[np.bool_] | None = None) -> float:
    """Mean structural similarity, 7 x 7 uniform window (Wang 2004, skimage's constants).

    Windows that leave the image or touch a pixel outside ``measured`` (R, C) do not
    count; NaN when none is left. Equals ``skimage.metrics.structural_similarity`` when
    every pixel is measured.
    """
    from scipy.ndimage import binary_erosion
    from skimage.metrics import structural_similarity

    first, second = (np.asarray(image, np.float32) for image in (prediction, reference))
    inside = np.ones(first.shape, bool) if measured is None else measured
    first, second = (np.where(inside, image, 0) for image in (first, second))
    _, similarity = structural_similarity(first, second, data_range=data_range, win_size=SSIM_WINDOW, full=True)
    whole = binary_erosion(inside, np.ones((SSIM_WINDOW, SSIM_WINDOW)), border_value=0)
    return float(similarity[whole].mean(dtype=np.float64)) if whole.any() else float("nan")


def frame_peaks(reference: Image, variance: ArrayLike = 0.0) -> Image:
    """Largest value per frame (V,) of line integrals (V, R, C) that stands out of the noise; 0 if none does.

    A pixel stands out above :data:`NOISE_LIMIT` standard deviations; ``variance``
    (broadcastable to the frames) is 0 for noise-free frames and ``inf`` where nothing was
    measured.
    """
    limit = np.broadcast_to(NOISE_LIMIT * np.sqrt(variance), reference.shape)
    return np.array([frame.max(initial=0.0, where=frame > low) for frame, low in zip(reference, limit, strict=True)])


def contrast_range(peaks: Image) -> float:
    """Fixed data range of a case: median over its held-out frames of :func:`frame_peaks` (V,).

    Where most frames show next to no contrast (a short bolus in a long run), only those that do count: nothing
    could be related to a range of 0.
    """
    median, least = np.median(peaks), MINIMUM_CONTRAST * peaks.max()
    return float(median if median >= least else np.median(peaks[peaks >= least]))


def compare_images(
    prediction: Image,
    reference: Image,
    *,
    data_range: float,
    measured: NDArray[np.bool_] | None = None,
    frames: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """Metrics of rendered frames against reference frames, averaged over the frames.

    Parameters
    ----------
    prediction, reference
        Line integrals (V, R, C).
    data_range
        Range of the un-normalized metrics, the same for every frame of a case.
    measured
        (V, R, C) or broadcastable; pixels that were measured. Others are ignored.
    frames
        (V,) frames that count, default all.

    Returns
    -------
    ``psnr_db``, ``ssim``
        Un-normalized, against ``data_range``.
    ``psnr_normalized_db``, ``ssim_normalized``
        After :func:`normalized` of both images independently (methods.md 0.8).
    ``relative_l1``
        sum |prediction - reference| / sum |reference| over all counted frames.

    All are NaN when no frame counts.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction {prediction.shape} and reference {reference.shape} must have the same shape")
    inside = np.broadcast_to(True if measured is None else measured, reference.shape)
    counted = range(len(reference)) if frames is None else np.flatnonzero(frames)
    rows = [_frame_metrics(prediction[i], reference[i], data_range, inside[i]) for i in counted]
    result = {
        name: float(np.mean([row[name] for row in rows])) if rows else float("nan")
        for name in ("psnr_db", "ssim", "psnr_normalized_db", "ssim_normalized")
    }
    total = sum(row["absolute"] for row in rows)
    return result | {"relative_l1": sum(row["error"] for row in rows) / total if total > 0 else float("nan")}


def _frame_metrics(
    prediction: Image, reference: Image, data_range: float, measured: NDArray[np.bool_]
) -> dict[str, float]:
    pair = normalized(prediction, measured), normalized(reference, measured)
    return {
        "psnr_db": psnr_db(prediction, reference, data_range, measured),
        "ssim": ssim(prediction, reference, data_range, measured),
        "psnr_normalized_db": psnr_db(*pair, 1.0, measured),
        "ssim_normalized": ssim(*pair, 1.0, measured),
        "error": float(np.abs(prediction - reference)[measured].sum(dtype=np.float64)),
        "absolute": float(np.abs(reference)[measured].sum(dtype=np.float64)),
    }
