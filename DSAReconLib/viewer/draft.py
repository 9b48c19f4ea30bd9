"""Coarse stand-ins for volume rendering and surface while a view moves or plays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.mrml.coordinates import vtk_matrix
from DSAReconLib.mrml.nodes import ResultNodes
from DSAReconLib.mrml.volumes import ijk_to_ras_of, image_data, voxels

_STEP = 2


class DraftVolume:
    """Draws the frames of a result on a grid of half the resolution, with the look of the full volume.

    The full volume keeps its vessels' walls' normals, which take longer to compute than to
    draw; the draft makes moving and playing fluent.
    """

    def __init__(self, renderer: Any) -> None:
        import vtk

        self._mapper = vtk.vtkFixedPointVolumeRayCastMapper()
        self._mapper.SetAutoAdjustSampleDistances(False)
        self._actor = vtk.vtkVolume()
        self._actor.SetMapper(self._mapper)
        self._actor.PickableOff()
        self._actor.SetVisibility(False)
        self._frames: dict[tuple[str, int], Any] = {}
        self._shown: tuple[str, int] | None = None
        renderer.AddVolume(self._actor)

    def show(self, nodes: ResultNodes, full: Any, coarseness: float) -> None:
        """Draw the selected frame of ``nodes`` instead of ``full`` (vtkVolume).

        ``coarseness`` is the distance of the rays, pixels.
        """
        key = nodes.sequence.GetID(), nodes.browser.GetSelectedItemNumber()
        if key not in self._frames:
            self._frames[key] = image_data(half_resolution(voxels(nodes.proxy)))
        if key != self._shown:
            self._shown = key
            self._mapper.SetInputData(self._frames[key])
            matrix = ijk_to_ras_of(nodes.proxy)
            centered = np.eye(4)
            centered[:3, :3] *= _STEP
            centered[:3, 3] = (_STEP - 1) / 2  # a coarse voxel lies in the middle of the fine ones
            self._actor.SetUserMatrix(vtk_matrix(matrix @ centered))
        spacing = float(min(nodes.proxy.GetSpacing()))
        self._mapper.SetImageSampleDistance(coarseness)
        self._mapper.SetSampleDistance(spacing)
        self._mapper.SetInteractiveSampleDistance(spacing)
        self._mapper.SetBlendMode(full.GetMapper().GetBlendMode())
        self._actor.SetProperty(full.GetProperty())
        self._actor.SetVisibility(True)
        full.SetVisibility(False)

    def hide(self, full: Any | None) -> None:
        """Draw ``full`` again."""
        if self._actor.GetVisibility() and full is not None:
            full.SetVisibility(True)
        self._actor.SetVisibility(False)


class DraftSurface:
    """Draws a result's surface with about a fifth of its triangles, colored as the full one."""

    def __init__(self, renderer: Any) -> None:
        import vtk

        self._mapper = vtk.vtkPolyDataMapper()
        self._actor = vtk.vtkActor()
        self._actor.SetMapper(self._mapper)
        self._actor.PickableOff()
        self._actor.SetVisibility(False)
        self._surfaces: dict[str, Any] = {}
        renderer.AddActor(self._actor)

    def show(self, nodes: ResultNodes, full: Any) -> None:
        """Draw the surface of ``nodes`` instead of ``full`` (vtkActor)."""
        assert nodes.surface is not None
        key = nodes.surface.GetID()
        if key not in self._surfaces:
            bin_mm = _STEP * float(min(nodes.proxy.GetSpacing()))
            self._surfaces[key] = coarse_surface(nodes.surface.GetPolyData(), bin_mm)
        self._mapper.ShallowCopy(full.GetMapper())
        self._mapper.SetInputData(self._surfaces[key])
        self._actor.SetProperty(full.GetProperty())
        self._actor.SetVisibility(True)
        full.SetVisibility(False)

    def hide(self, full: Any | None) -> None:
        """Draw ``full`` again."""
        if self._actor.GetVisibility() and full is not None:
            full.SetVisibility(True)
        self._actor.SetVisibility(False)


def coarse_surface(surface: Any, bin_mm: float) -> Any:
    """A vtkPolyData with one point per cube of ``bin_mm``; point arrays stay."""
    import vtk

    bounds = np.array(surface.GetBounds()).reshape(3, 2)
    reduce = vtk.vtkBinnedDecimation()
    reduce.SetInputData(surface)
    reduce.SetPointGenerationModeToUseInputPoints()
    reduce.ProducePointDataOn()
    reduce.AutoAdjustNumberOfDivisionsOff()
    reduce.SetNumberOfDivisions(*(max(1, int(length / bin_mm)) for length in bounds[:, 1] - bounds[:, 0]))
    reduce.Update()
    return reduce.GetOutput()


def half_resolution(volume: NDArray[Any]) -> NDArray[Any]:
    """Largest value of each block of 2 x 2 x 2 voxels (odd ends are cut): thin vessels stay."""
    depth, rows, columns = (length - length % _STEP for length in volume.shape)
    even = volume[:depth, :rows, :columns]
    pairs = np.maximum(even[::2], even[1::2])
    pairs = np.maximum(pairs[:, ::2], pairs[:, 1::2])
    return np.ascontiguousarray(np.maximum(pairs[:, :, ::2], pairs[:, :, 1::2]))
