"""Line integrals and volumes as pictures: the grey look of an angiogram, projections of maxima."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.errors import DependencyError

_WINDOW_PERCENTILE = 99.8


def contrast_window(line_integrals: ArrayLike) -> tuple[float, float]:
    """Lower and upper line integral of the display: 0 and the 99.8th percentile of each view's, at largest."""
    images = np.asarray(line_integrals, np.float32)
    stack = images.reshape(-1, *images.shape[-2:])
    high = max((float(np.percentile(image, _WINDOW_PERCENTILE)) for image in stack), default=0.0)
    return 0.0, max(high, 1e-6)


def grey_levels(
    line_integrals: ArrayLike, window: tuple[float, float] | None = None, *, vessels_dark: bool = True
) -> NDArray[np.uint8]:
    """8-bit grey values of the same shape, vessels dark on light as in an angiogram.

    ``window`` gives the line integrals of the two ends of the scale, default
    :func:`contrast_window`.
    """
    low, high = contrast_window(line_integrals) if window is None else window
    if not high > low:
        raise ValueError(f"window must be (low, high) with low < high; got {(low, high)}")
    relative = np.clip((np.asarray(line_integrals, np.float32) - low) / (high - low), 0, 1)
    return np.rint(255 * (1 - relative if vessels_dark else relative)).astype(np.uint8)


def colored(values: ArrayLike, value_range: tuple[float, float], colormap: str = "turbo") -> NDArray[np.uint8]:
    """RGB picture (..., 3) of values, e.g. arrival times (s); NaN becomes black."""
    import matplotlib

    low, high = value_range
    array = np.asarray(values, np.float32)
    with np.errstate(invalid="ignore"):
        relative = np.clip((array - low) / max(high - low, 1e-12), 0, 1)
    rgb = matplotlib.colormaps[colormap](np.nan_to_num(relative))[..., :3]
    rgb[np.isnan(array)] = 0
    return np.rint(255 * rgb).astype(np.uint8)


def maximum_projection(volume: ArrayLike, axis: str = "y") -> NDArray[np.float32]:
    """Maximum along ``"x"``, ``"y"`` or ``"z"`` of a volume (z, y, x), head up, as seen on a screen.

    y gives the coronal picture (patient's left on the right side), x the sagittal one
    (anterior on the left), z the axial one (anterior up).
    """
    axes = {"z": 0, "y": 1, "x": 2}
    if axis not in axes:
        raise ValueError(f"axis must be x, y or z; got {axis!r}")
    picture = np.nanmax(np.asarray(volume, np.float32), axis=axes[axis])
    return picture if axis == "z" else picture[::-1]


def write_png(path: object, picture: NDArray[np.uint8]) -> None:
    """Write a grey (R, C) or RGB (R, C, 3) picture; DependencyError without Pillow."""
    pillow_image().fromarray(picture).save(str(path), format="PNG")


def pillow_image():  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Pillow's ``Image`` module.

    Raises
    ------
    DependencyError
        Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyError(
            "Pictures are written with Pillow, which is not installed.", hint="Install it: pip install pillow"
        ) from error
    return Image
