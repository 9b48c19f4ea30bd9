"""The scene behind the page: results, one 3D view, one slice view, one time and one camera for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry.angles import positioner_axes
from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml import display
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.coordinates import flipped
from DSAReconLib.mrml.curves import CurveModel
from DSAReconLib.mrml.nodes import ResultNodes
from DSAReconLib.mrml.result import load_result
from DSAReconLib.mrml.sequence import current_time, select_time
from DSAReconLib.rendering.pose import angles_of_direction, pose_of_frame
from DSAReconLib.viewer.picking import VesselPicker

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
_MAP_LABELS = {
    "attenuation": "Attenuation now",
    "peak": "Peak attenuation",
    "arrival": "Arrival time",
    "probability": "Vessel probability",
}
_VIEW_ANGLE_DEG = 30.0
_MARGIN = 1.08
_FEW_POINTS = 5000


@dataclass
class LoadedResult:
    """A result in the scene with what the page asks of it."""

    nodes: ResultNodes
    picker: VesselPicker
    _curves: list[CurveModel] = field(default_factory=list)

    @property
    def curves(self) -> CurveModel:
        """The exact curves, read when first asked for."""
        if not self._curves:
            assert self.nodes.result is not None
            self._curves.append(CurveModel(self.nodes.result))
        return self._curves[0]

    def slice_volumes(self) -> dict[str, Any]:
        """Volumes that a slice view can show, by their label on the page."""
        nodes = self.nodes
        found = {"attenuation": nodes.proxy, "peak": nodes.peak, "arrival": nodes.arrival}
        found |= {"probability": nodes.probability}
        named = {_MAP_LABELS[name]: node for name, node in found.items() if node is not None}
        return named | {name.replace("_", " ").capitalize(): node for name, node in nodes.maps.items()}


class ViewerScene:
    """slicer-core with one 3D view and one slice view, and the results that were opened.

    Parameters
    ----------
    results
        Opened result folders; they come into the scene when they are first selected.
    """

    def __init__(self, results: list[ResultFolder]) -> None:
        from trame_slicer.core import SlicerApp
        from trame_slicer.views import SliceView, ThreeDView

        self._app = SlicerApp()
        self.context = SceneContext.of_trame(self._app)
        self.results = results
        self.names = unique_names(results)
        self._loaded: dict[int, LoadedResult] = {}
        self.selected = 0
        self.threed = ThreeDView(self.context.scene, self.context.application_logic, "1")
        self.slices = SliceView(self.context.scene, self.context.application_logic, "Slice")
        for view in (self.threed, self.slices):
            view.render_window().SetMultiSamples(0)
        display.prepare_threed_view(self.threed.get_view_node())
        # costs seconds per picture without a graphics card, and nothing here is half transparent
        self.threed.get_view_node().SetUseDepthPeeling(False)
        self.threed.renderer().SetUseDepthPeelingForVolumes(False)

    @property
    def result(self) -> ResultFolder:
        """The selected result's folder."""
        return self.results[self.selected]

    @property
    def current(self) -> LoadedResult:
        """The selected result in the scene."""
        return self._loaded[self.selected]

    @property
    def loaded(self) -> list[tuple[str, LoadedResult]]:
        """Results in the scene with their names."""
        return [(self.names[number], result) for number, result in sorted(self._loaded.items())]

    @property
    def camera_node(self) -> Any:
        """Camera of the 3D view (vtkMRMLCameraNode)."""
        manager = self.threed.get_displayable_manager_by_class("vtkMRMLCameraDisplayableManager")
        return manager.GetCameraNode()

    @property
    def time_range_s(self) -> tuple[float, float]:
        """First and last time of the run, s."""
        times = self.result.times_s
        return float(times[0]), float(max(times[-1], times[0] + 1e-3))

    def select(self, number: int) -> None:
        """Show a result instead of the others, with their time, camera and look; loads it if necessary.

        Raises
        ------
        ResultError
            The folder is damaged.
        """
        first = not self._loaded
        shown = current_time(self.current.nodes.browser) if not first else None
        if number not in self._loaded:
            nodes = load_result(self.context, self.results[number].folder, name=self.names[number])
            self._loaded[number] = LoadedResult(nodes, VesselPicker(nodes))
        self.selected = number
        nodes = self.current.nodes
        display.show_only(self.context, [entry.nodes for entry in self._loaded.values()], nodes)
        if shown is not None:
            select_time(nodes.browser, shown)
        if first:
            self.look_from(0.0, 0.0, 1.0)

    def select_time(self, time_s: float) -> bool:
        """Show the frames nearest to a time in all results; True if the selected one shows another frame now."""
        before = self.current.nodes.browser.GetSelectedItemNumber()
        for entry in self._loaded.values():
            select_time(entry.nodes.browser, time_s)
        return bool(self.current.nodes.browser.GetSelectedItemNumber() != before)

    @property
    def time_s(self) -> float:
        """Time of the frame that the selected result shows, s."""
        return current_time(self.current.nodes.browser)

    def look_from(self, primary_deg: float, secondary_deg: float, aspect: float) -> None:
        """Aim the 3D camera at the vessels from the detector of a C-arm, so that left and right are as in its pictures.

        ``aspect`` is the width of the view divided by its height.
        """
        beam, right, up = (flipped(axis[0]) for axis in positioner_axes(primary_deg, secondary_deg))
        points = self._vessel_points()
        center = (points.min(0) + points.max(0)) / 2
        offset = points - center
        half = np.tan(np.radians(_VIEW_ANGLE_DEG) / 2)
        wide = np.maximum(np.abs(offset @ up), np.abs(offset @ right) / aspect)
        distance = float((offset @ beam + _MARGIN * wide / half).max())
        camera = self.camera_node
        was_modifying = camera.StartModify()
        camera.SetViewAngle(_VIEW_ANGLE_DEG)
        camera.SetFocalPoint(*center)
        camera.SetPosition(*(center + distance * beam))
        camera.SetViewUp(*up)
        camera.EndModify(was_modifying)
        self.threed.renderer().ResetCameraClippingRange()

    @property
    def camera_angles_deg(self) -> tuple[float, float]:
        """Positioner angles, degrees, of the C-arm whose detector is where the 3D camera is."""
        direction = np.array(self.camera_node.GetCamera().GetDirectionOfProjection())
        return angles_of_direction(flipped(-direction))

    def _vessel_points(self) -> NDArray[np.float64]:
        """Points (P, 3), RAS mm, that a picture of all vessels must show."""
        from vtkmodules.util.numpy_support import vtk_to_numpy

        nodes = self.current.nodes
        surface = None if nodes.surface is None else nodes.surface.GetPolyData()
        if surface is not None and surface.GetNumberOfPoints():
            points: NDArray[np.float64] = vtk_to_numpy(surface.GetPoints().GetData()).astype(float)
            return points[:: max(1, len(points) // _FEW_POINTS)]
        bounds = [0.0] * 6
        nodes.proxy.GetRASBounds(bounds)
        return np.array(np.meshgrid(bounds[:2], bounds[2:4], bounds[4:])).reshape(3, -1).T

    def frame_near(self, time_s: float) -> int:
        """Number of the acquired frame nearest to a time."""
        return int(np.abs(self.result.times_s - time_s).argmin())

    def angles_near(self, time_s: float) -> tuple[float, float]:
        """Positioner angles, degrees, of the acquired frame nearest to a time."""
        return pose_of_frame(self.result.geometry, self.frame_near(time_s)).angles_deg


def unique_names(results: list[ResultFolder]) -> list[str]:
    """What the page calls the results: method and number of views, never a folder."""
    names: list[str] = []
    for result in results:
        title = str(result.record.get("title") or result.record.get("method") or "Result")
        base = f"{title}, {len(result.selected_views)} views"
        taken, number, name = set(names), 1, base
        while name in taken:
            number += 1
            name = f"{base} ({number})"
        names.append(name)
    return names
