"""Arrays as pictures in the panel."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
import vtk
from numpy.typing import ArrayLike, NDArray
from vtk.util.numpy_support import numpy_to_vtk


def pixmapFromArray(grey: ArrayLike) -> Any:
    """QPixmap of grey values (R, C) or colors (R, C, 3), 0 to 255, row 0 at the top."""
    values = np.asarray(grey, np.uint8)
    if values.ndim == 2:
        values = np.repeat(values[:, :, None], 3, axis=2)
    rows, columns, _ = values.shape
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, 1)
    flipped = np.ascontiguousarray(values[::-1]).reshape(-1, 3)  # VTK counts rows from the bottom
    image.GetPointData().SetScalars(numpy_to_vtk(flipped, deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    picture = qt.QImage()
    slicer.qMRMLUtils().vtkImageDataToQImage(image, picture)
    return qt.QPixmap.fromImage(picture)


def showPicture(label: Any, grey: ArrayLike | None) -> None:
    """Fill a label of fixed size with a picture, keeping its proportions; ``None`` empties it."""
    if grey is None:
        label.clear()
        return
    pixmap = pixmapFromArray(grey)
    label.setPixmap(
        pixmap.scaled(label.minimumWidth, label.minimumHeight, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
    )


def greyByQuantiles(values: ArrayLike, *, logarithmic: bool = False, dark: bool = False) -> NDArray[np.uint8]:
    """Grey values of an image of any unit, from its 0.5 to its 99.5 percentile; ``dark`` = high values dark."""
    image = np.asarray(values, np.float32)
    image = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)]
    if logarithmic:
        image = np.log(np.maximum(image, 1e-6 * max(float(image.max()), 1e-30)))
    low, high = np.quantile(image, (0.005, 0.995))
    share = np.clip((image - low) / max(float(high - low), 1e-12), 0, 1)
    return (255 * (1 - share if dark else share)).astype(np.uint8)


def volumeFromFront(volume: ArrayLike) -> NDArray[np.uint8]:
    """Maximum intensity projection of a volume (z, y, x) as seen from the front, head up, vessels dark."""
    projection = np.asarray(volume, np.float32).max(axis=1)[::-1]
    return greyByQuantiles(projection, dark=True)
