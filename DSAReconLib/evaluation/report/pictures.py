"""Arrays to small PNG pictures inside the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import ArrayLike, NDArray

GAMMA = 0.75
"""Display exponent of attenuation pictures: lifts thin vessels without hiding thick ones."""

DIFFERENCE_STOPS = ("#8fd3ff", "#2f7fd1", "#0b0e13", "#d1662f", "#ffc98f")
"""Colors of the difference map from negative over 0 to positive."""

_ARRIVAL_COLORMAP, _ARRIVAL_PART = "turbo", (0.93, 0.1)
"""Early red, late blue, as in the scenes; the ends of the map are too dark to be seen on black."""


def gray(image: NDArray[np.floating], low: float, high: float, gamma: float = 1.0) -> NDArray[np.uint8]:
    """Window an image (R, C) to 8 bit."""
    scaled = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return np.asarray(255 * scaled**gamma + 0.5, np.uint8)


def difference(image: NDArray[np.floating], limit: float) -> NDArray[np.uint8]:
    """Signed image (R, C) as colors (R, C, 3): black at 0, full color at +-``limit``."""
    from matplotlib.colors import LinearSegmentedColormap

    colormap = LinearSegmentedColormap.from_list("difference", DIFFERENCE_STOPS)
    return colormap(np.clip(image / limit / 2 + 0.5, 0, 1), bytes=True)[..., :3]


def arrival(
    times_s: NDArray[np.floating], brightness: NDArray[np.floating], low_s: float, high_s: float
) -> NDArray[np.uint8]:
    """Arrival times (R, C) as hue, dimmed by ``brightness`` (R, C) in [0, 1]; colors (R, C, 3)."""
    from matplotlib import colormaps

    share = np.clip(np.nan_to_num(times_s - low_s) / max(high_s - low_s, 1e-9), 0, 1)
    colors = colormaps[_ARRIVAL_COLORMAP](_ARRIVAL_PART[0] + share * (_ARRIVAL_PART[1] - _ARRIVAL_PART[0]))[..., :3]
    return np.asarray(255 * colors * np.where(np.isfinite(times_s), brightness, 0)[..., None] + 0.5, np.uint8)


def arrival_gradient() -> str:
    """CSS gradient of the arrival colors, for the color bar."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return ", ".join(to_hex(color) for color in colormaps[_ARRIVAL_COLORMAP](np.linspace(*_ARRIVAL_PART, 16)))


def reduced(image: NDArray[np.floating], side: int) -> NDArray[np.floating]:
    """Image (R, C) averaged over whole pixel blocks so that its longer side is at most ``side``, if it is longer."""
    factor = int(np.ceil(max(image.shape) / side))
    rows, columns = (n // factor for n in image.shape)
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return np.asarray(blocks.mean((1, 3)))


def png_uri(pixels: ArrayLike, colors: int = 256) -> str:
    """Data URI of 8-bit pixels (R, C) or (R, C, 3); color pictures use a palette, which keeps them small."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if picture.mode == "RGB":
        picture = picture.quantize(colors)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
