"""Arrays as volume nodes: 16-bit fixed point for what is played, float32 for maps."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.mrml.coordinates import matrix_array, vtk_matrix

SCALE_ATTRIBUTE = "DSARecon.Scale"
UNIT_ATTRIBUTE = "DSARecon.Unit"
QUANTITY_ATTRIBUTE = "DSARecon.Quantity"
NO_VALUE_ATTRIBUTE = "DSARecon.NoValue"


@dataclass(frozen=True)
class FixedPoint:
    """How real numbers are kept as 16-bit integers: value = stored * scale, for all frames alike.

    Parameters
    ----------
    dtype
        uint16, or int16 if there are negative values.
    scale
        Real value of one step, a power of ten, so that stored numbers can be read by eye.
    """

    dtype: np.dtype[Any]
    scale: float

    @classmethod
    def for_range(cls, low: float, high: float) -> FixedPoint:
        """The finest one that holds ``low`` to ``high``."""
        dtype = np.dtype(np.int16 if low < 0 else np.uint16)
        largest = max(abs(low), abs(high), 1e-30)
        return cls(dtype, float(10.0 ** np.ceil(np.log10(largest / np.iinfo(dtype).max))))

    def store(self, values: NDArray[np.floating]) -> NDArray[Any]:
        """Real values as integers."""
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(values / self.scale), limits.min, limits.max).astype(self.dtype)

    def describe(self, node: Any, quantity: str, unit: str) -> None:
        """Write on a node what its integers mean, so that nobody takes them for real values."""
        node.SetAttribute(SCALE_ATTRIBUTE, repr(self.scale))
        describe(node, quantity, f"{self.scale:g} {unit}")


def describe(node: Any, quantity: str, unit: str) -> None:
    """Write quantity and unit of the voxel values on a node: attributes, and for volumes Slicer's own unit."""
    node.SetAttribute(QUANTITY_ATTRIBUTE, quantity)
    node.SetAttribute(UNIT_ATTRIBUTE, unit)
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        return
    import slicer

    coded = slicer.vtkCodedEntry()
    coded.SetValueSchemeMeaning(_ucum(unit), "UCUM", unit)
    node.SetVoxelValueUnits(coded)


def _ucum(unit: str) -> str:
    """Code of a unit as :func:`describe` gets it, e.g. ``10*-5/mm`` for ``1e-05 1/mm``."""
    factor, _, of = unit.rpartition(" ")
    exponent = round(math.log10(float(factor))) if factor else 0
    bare = of.removeprefix("1") if of != "1" else "1"
    if exponent == 0:
        return bare
    return f"10*{exponent}" + (bare if bare.startswith("/") else "")


def scale_of(node: Any) -> float:
    """Real value per stored step of a node; 1 if it says nothing."""
    text = node.GetAttribute(SCALE_ATTRIBUTE)
    return float(text) if text else 1.0


def sparse_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that take memory where they are written only, page by page (np.zeros asks for huge pages)."""
    count = int(np.prod(shape))
    return np.frombuffer(mmap.mmap(-1, count * dtype.itemsize), dtype).reshape(shape)


def image_data(values: NDArray[Any]) -> Any:
    """Array (z, y, x) as vtkImageData that shares its memory."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(values.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=False))
    return image


def voxels(volume: Any) -> NDArray[Any]:
    """Stored values (z, y, x) of a volume node, as a view."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = volume.GetImageData()
    array: NDArray[Any] = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return array


def real_voxels(volume: Any) -> NDArray[np.float32]:
    """Real values (z, y, x) of a volume node: scale applied, NaN where there is no value."""
    values = voxels(volume).astype(np.float32) * np.float32(scale_of(volume))
    missing = volume.GetAttribute(NO_VALUE_ATTRIBUTE)
    if missing:
        values[values == np.float32(float(missing))] = np.nan
    return values


def ijk_to_ras_of(volume: Any) -> NDArray[np.float64]:
    """Homogeneous matrix (4, 4) from voxel index (x, y, z) of a volume node to RAS mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix_array(matrix)


def add_map(
    scene: Any, name: str, values: NDArray[np.float32], ijk_to_ras: ArrayLike, *, quantity: str, unit: str
) -> Any:
    """Volume node of real values (z, y, x); NaN becomes a value below all others that is not displayed."""
    import slicer

    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(name)
    missing = np.isnan(values)
    if missing.any():
        lowest = np.fmin.reduce(values, axis=None)
        no_value = min(-1.0, float(np.floor(lowest)) - 1.0) if np.isfinite(lowest) else -1.0
        values = np.where(missing, np.float32(no_value), values)
        node.SetAttribute(NO_VALUE_ATTRIBUTE, repr(no_value))
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras))
    node.SetAndObserveImageData(image_data(values.astype(np.float32, copy=False)))
    describe(node, quantity, unit)
    return scene.AddNode(node)


def _add_display(volume: Any) -> Any:
    """Display node without the automatic window, which looks at every voxel."""
    import slicer

    display = slicer.vtkMRMLScalarVolumeDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetDefaultColorMap()
    volume.GetScene().AddNode(display)
    volume.AddAndObserveDisplayNodeID(display.GetID())
    return display


def show_range(volume: Any, low: float, high: float, *, color_node_id: str | None = None) -> None:
    """Display a volume from ``low`` to ``high`` in stored values, fixed; hide voxels without a value."""
    display = volume.GetDisplayNode()
    if display is None:
        display = _add_display(volume)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high)
    if color_node_id is not None:
        display.SetAndObserveColorNodeID(color_node_id)
    missing = volume.GetAttribute(NO_VALUE_ATTRIBUTE)
    if missing:
        display.SetAutoThreshold(False)
        display.SetThreshold(float(missing) + 0.5, float(np.finfo(np.float32).max))
        display.SetApplyThreshold(True)
