"""Moving an image by sub-pixel shifts and small turns in its plane, with the noise that is left of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_TABLE = 32


def filled(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Image (R, C) with its median in the pixels that are not usable, so that these draw no edges."""
    if usable.all():
        return image
    level = float(np.median(image[usable])) if usable.any() else 0.0
    return np.where(usable, image, np.float32(level))


class ShiftedSpline:
    """Cubic spline through an image (R, C), evaluated on the whole pixel raster shifted by one vector.

    With one shift for all pixels, the interpolation is a separable sum of four shifted
    copies per axis. ``stride`` > 1 leaves out rows and columns of the result.
    """

    def __init__(self, image: NDArray[np.float32], margin: int, stride: int = 1) -> None:
        from scipy.ndimage import spline_filter

        self._shape, self._margin, self._stride = image.shape, margin, stride
        coefficients = spline_filter(image, order=3, mode="mirror", output=np.float32)
        self._coefficients = np.pad(coefficients, margin, mode="reflect")

    def at(self, shift: NDArray[np.float64], *, slopes: bool = False) -> tuple[NDArray[np.float32], ...]:
        """Image moved by ``shift`` (row, column), and on request its slopes along rows and columns."""
        values, derivative = (self._along(self._coefficients, 0, shift[0], kind) for kind in (_weights, _slopes))
        image = self._along(values, 1, shift[1], _weights)
        if not slopes:
            return (image,)
        return image, self._along(derivative, 1, shift[1], _weights), self._along(values, 1, shift[1], _slopes)

    def _along(
        self, array: NDArray[np.float32], axis: int, shift: float, kind: Callable[[float], tuple[float, ...]]
    ) -> NDArray[np.float32]:
        whole = int(np.floor(-shift))
        first = self._margin + whole - 1
        pieces = [
            np.float32(weight) * array[(slice(None),) * axis + (slice(start, start + self._shape[axis], self._stride),)]
            for start, weight in enumerate(kind(-shift - whole), start=first)
        ]
        return np.asarray(sum(pieces[1:], pieces[0]), np.float32)


def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-spline at a fraction ``t`` of the way between two samples: weights of samples -1 to 2."""
    return (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6


def _slopes(t: float) -> tuple[float, float, float, float]:
    """Derivatives of :func:`_weights`."""
    return -((1 - t) ** 2) / 2, (3 * t**2 - 4 * t) / 2, (-3 * t**2 + 2 * t + 1) / 2, t**2 / 2


class TurnedSpline:
    """Cubic spline through an image (R, C), evaluated after a shift and a turn about the middle of the image.

    ``stride`` > 1 leaves out rows and columns of the result.
    """

    def __init__(self, image: NDArray[np.float32], stride: int = 1) -> None:
        from scipy.ndimage import spline_filter

        self._image, self._stride = image, stride
        self._coefficients = spline_filter(image, order=3, mode="mirror", output=np.float32)
        self._gradient: list[NDArray[np.float32]] = []

    def at(self, shift: NDArray[np.float64], turn_rad: float) -> NDArray[np.float32]:
        """Image whose content is turned clockwise and then moved by ``shift`` (row, column)."""
        return self._sampled(self._coefficients, 3, shift, turn_rad)

    def slopes_at(self, shift: NDArray[np.float64], turn_rad: float) -> list[NDArray[np.float32]]:
        """Slopes of the image along rows and columns, at the same places (linearly interpolated differences)."""
        self._gradient = self._gradient or list(np.gradient(self._image))
        return [self._sampled(slope, 1, shift, turn_rad) for slope in self._gradient]

    def _sampled(
        self, array: NDArray[np.float32], order: int, shift: NDArray[np.float64], turn_rad: float
    ) -> NDArray[np.float32]:
        from scipy.ndimage import affine_transform

        matrix, offset = source_of(array.shape, shift, turn_rad)
        shape = tuple(-(-size // self._stride) for size in array.shape)
        matrix = matrix * self._stride
        return affine_transform(
            array, matrix, offset, shape, order=order, mode="mirror", prefilter=False, output=np.float32
        )


def source_of(
    shape: tuple[int, int], shift: NDArray[np.float64], turn_rad: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix (2, 2) and offset (2,): from a (row, column) of the moved image to where its content was before."""
    cosine, sine = np.cos(turn_rad), np.sin(turn_rad)
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    middle = (np.array(shape) - 1) / 2
    return matrix, middle - matrix @ (middle + shift)


def move_image(
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    row_column_px: tuple[float, float],
    turn_deg: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image (R, C) moved by a sub-pixel shift and turned clockwise (cubic spline), and its noise variance.

    Interpolation averages neighboring noise: the variance falls by the sum of the squared
    interpolation weights. Pixels beside unmeasured ones, and those that come from outside
    the image, get variance ``inf``.
    """
    if row_column_px == (0.0, 0.0) and turn_deg == 0:
        return image, variance
    from scipy.ndimage import affine_transform, maximum_filter
    from scipy.ndimage import shift as moved

    vector, turn = np.array(row_column_px), np.deg2rad(turn_deg)
    measured = np.isfinite(variance)
    whole = filled(image, measured)
    # Three more pixels beside unmeasured ones, where the spline still rings; nearest pixels keep "inf" sharp.
    around = variance if measured.all() else np.where(maximum_filter(~measured, 7), np.float32(np.inf), variance)
    nearest = {"order": 0, "mode": "constant", "cval": np.inf, "prefilter": False}
    if turn == 0:
        result = ShiftedSpline(whole, int(np.ceil(np.abs(vector).max())) + 3).at(vector)[0]
        rows, columns = kept_noise(-vector)
        return result, moved(around, np.round(vector), **nearest) * (rows * columns)
    result = TurnedSpline(whole).at(vector, turn)
    matrix, offset = source_of(image.shape, vector, turn)
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    places = (matrix[axis, 0] * rows + matrix[axis, 1] * columns + offset[axis] for axis in (0, 1))
    kept = kept_noise(next(places)) * kept_noise(next(places))
    return result, affine_transform(around, matrix, offset, **nearest) * kept


def image_at(
    image: NDArray[np.float32], variance: NDArray[np.float32], place: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image (R, C) at places (2, R, C) in (row, column), and its noise variance, as in :func:`move_image`."""
    from scipy.ndimage import map_coordinates, maximum_filter

    measured = np.isfinite(variance)
    around = variance if measured.all() else np.where(maximum_filter(~measured, 7), np.float32(np.inf), variance)
    result = map_coordinates(filled(image, measured), place, order=3, mode="mirror", output=np.float32)
    near = map_coordinates(around, place, order=0, mode="constant", cval=np.inf, prefilter=False, output=np.float32)
    return result, near * kept_noise(place[0]) * kept_noise(place[1])


def kept_noise(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Share of the variance of white noise that is left of it between the samples of one axis, at ``places``."""
    return np.interp(places % 1.0, *_kept_noise_table()).astype(np.float32)


@lru_cache(maxsize=1)
def _kept_noise_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    impulse = np.zeros((33, 33), np.float32)
    impulse[16, 16] = 1
    spline = ShiftedSpline(impulse, 16)
    fractions = np.linspace(0, 1, _TABLE + 1)
    along = [spline.at(np.array([fraction, 0.0]))[0][:, 16] for fraction in fractions]
    return fractions, np.array([float(np.sum(values.astype(float) ** 2)) for values in along])
