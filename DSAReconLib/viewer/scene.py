"""The scene behind the page: results, one 3D view, one slice view, one time and one camera for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml import display
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.curves import CurveModel
from DSAReconLib.mrml.nodes import ResultNodes
from DSAReconLib.mrml.result import load_result
from DSAReconLib.mrml.sequence import current_time, select_time
from DSAReconLib.rendering.pose import pose_of_frame
from DSAReconLib.viewer.picking import VesselPicker

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
_MAP_LABELS = {
    "attenuation": "Attenuation now",
    "peak": "Peak attenuation",
    "arrival": "Arrival time",
    "probability": "Vessel probability",
}
_CLOSER = 0.62  # of the distance at which the whole run's field of view is seen


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
        renderer = self.threed.renderer()
        renderer.SetUseDepthPeeling(False)  # costs seconds per picture without a graphics card, and nothing needs it
        renderer.SetUseDepthPeelingForVolumes(False)
        display.prepare_threed_view(self.threed.get_view_node())

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
        """vtkMRMLCameraNode of the 3D view."""
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
            self.look_at_run()

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

    def look_at_run(self) -> None:
        """Aim the 3D camera at the vessels from anterior, head up."""
        bounds = self.vessel_bounds()
        center, radius = bounds.mean(0), 0.5 * float(np.linalg.norm(bounds[1] - bounds[0]))
        camera = self.camera_node
        angle = 30.0
        camera.SetViewAngle(angle)
        camera.SetFocalPoint(*center)
        distance = _CLOSER * 2 * radius / (2 * np.tan(np.radians(angle / 2)))
        camera.SetPosition(center[0], center[1] + distance + radius, center[2])
        camera.SetViewUp(0, 0, 1)
        self.threed.renderer().ResetCameraClippingRange()

    def vessel_bounds(self) -> NDArray[np.float64]:
        """Lowest and highest corner (2, 3) of the selected result's vessels, RAS mm."""
        nodes = self.current.nodes
        node = nodes.proxy if nodes.surface is None else nodes.surface
        bounds = [0.0] * 6
        node.GetRASBounds(bounds)
        return np.array(bounds).reshape(3, 2).T

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
