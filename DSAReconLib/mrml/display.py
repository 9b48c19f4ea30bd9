"""How results look: volume rendering, surface, slices; one stable transfer function for all frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from DSAReconLib.mrml import presets
from DSAReconLib.mrml.colors import LEGEND_LABELS, arrival_color_node, round_range
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.nodes import ResultNodes
from DSAReconLib.mrml.surface import ARRIVAL_ARRAY, arrival_range_s

MAPPERS = {"gpu": "vtkMRMLGPURayCastVolumeRenderingDisplayNode", "cpu": "vtkMRMLCPURayCastVolumeRenderingDisplayNode"}
"""Who casts the rays: name, class of the display node."""

_PRESET_ATTRIBUTE, _VISIBLE_FROM_ATTRIBUTE = "DSARecon.Preset", "DSARecon.VisibleFrom"
_PLAIN_COLOR = (0.86, 0.30, 0.24)
_LEGEND_FONT_SIZE = 12
_BACKGROUND = (0.03, 0.035, 0.05)


def add_rendering(context: SceneContext, nodes: ResultNodes, preset: str, mapper: str | None) -> None:
    """Give the proxy its volume rendering, hidden."""
    scene, logic = context.scene, context.volume_rendering_logic
    display = logic.CreateVolumeRenderingDisplayNode(_mapper_class(mapper or context.default_mapper))
    scene.AddNode(display)
    display.SetVisibility(False)
    properties = scene.AddNewNodeByClass("vtkMRMLVolumePropertyNode", f"{nodes.name} rendering")
    properties.SetHideFromEditors(False)
    _attach(context, nodes, display, properties)
    apply_preset(context, nodes, preset)


def show_volume(nodes: ResultNodes, visible: bool = True) -> None:
    """Show or hide the volume rendering of the selected frame."""
    display = nodes.rendering
    if display is not None:
        display.SetVisibility(visible)


def apply_preset(context: SceneContext, nodes: ResultNodes, preset: str, *, threshold: float | None = None) -> None:
    """Give the volume rendering one of :data:`DSAReconLib.mrml.presets.PRESETS`.

    ``threshold`` (1/mm) is the attenuation from which vessels are visible; default the
    surface threshold that the method found. Frames never change the transfer function.
    ``"X-ray MIP"`` also switches the 3D views to maximum intensity projection, the others
    switch them back.
    """
    chosen = presets.preset(preset)
    properties = _properties(nodes)
    if properties is None:
        return
    visible_from = nodes.surface_threshold if threshold is None else max(threshold, nodes.attenuation_scale)
    bright = max(nodes.bright_attenuation, 1.2 * visible_from)
    scale, voxel_mm = nodes.attenuation_scale, float(min(nodes.proxy.GetSpacing()))
    was_modifying = properties.StartModify()
    presets.fill_property(properties, chosen, visible_from / scale, bright / scale, voxel_mm)
    properties.SetAttribute(_PRESET_ATTRIBUTE, preset)
    properties.SetAttribute(_VISIBLE_FROM_ATTRIBUTE, repr(float(visible_from)))
    properties.EndModify(was_modifying)
    _set_technique(context, chosen.maximum_projection)


def current_preset(nodes: ResultNodes) -> str:
    """Name of the preset in use."""
    properties = _properties(nodes)
    return (properties.GetAttribute(_PRESET_ATTRIBUTE) if properties is not None else None) or presets.PRESETS[0]


def visible_from(nodes: ResultNodes) -> float:
    """Attenuation from which vessels are visible in the volume rendering, 1/mm."""
    properties = _properties(nodes)
    text = properties.GetAttribute(_VISIBLE_FROM_ATTRIBUTE) if properties is not None else None
    return float(text) if text else nodes.surface_threshold


def set_mapper(context: SceneContext, nodes: ResultNodes, mapper: str) -> None:
    """Let the ``"gpu"`` or the ``"cpu"`` cast the rays; everything looks as before."""
    old = nodes.rendering
    if old is None or old.GetClassName() == _mapper_class(mapper):
        return
    properties, visible = old.GetVolumePropertyNode(), old.GetVisibility()
    with context.batch():
        display = context.volume_rendering_logic.CreateVolumeRenderingDisplayNode(_mapper_class(mapper))
        context.scene.AddNode(display)
        display.SetVisibility(visible)
        context.scene.RemoveNode(old)
        _attach(context, nodes, display, properties)


def show_surface(nodes: ResultNodes, visible: bool = True, *, opacity: float | None = None) -> None:
    """Show or hide the vessel surface; nothing happens if the result has none."""
    display = _surface_display(nodes)
    if display is None:
        return
    display.SetVisibility(visible)
    if opacity is not None:
        display.SetOpacity(opacity)


def color_surface(nodes: ResultNodes, by: str, *, time_range_s: tuple[float, float] | None = None) -> None:
    """Color the surface ``by`` ``"arrival_time"`` (early red, late blue) or ``"plain"``.

    ``time_range_s`` are the ends of the scale; default the range of the result. Static
    results stay plain.
    """
    if by not in (ARRIVAL_ARRAY, "plain"):
        raise ValueError(f"by must be 'arrival_time' or 'plain'; got {by!r}")
    display = _surface_display(nodes)
    if display is None:
        return
    found = _surface_times(nodes)
    if by == ARRIVAL_ARRAY and found is not None:
        low, high = time_range_s or round_range(*found)
        display.SetActiveScalar(ARRIVAL_ARRAY, 0)
        display.SetAutoScalarRange(False)
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        display.SetScalarRange(low, high)
        display.SetAndObserveColorNodeID(arrival_color_node(display.GetScene()).GetID())
    display.SetScalarVisibility(by == ARRIVAL_ARRAY and found is not None)


def arrival_time_range(nodes: ResultNodes) -> tuple[float, float] | None:
    """Ends of the arrival-time scale of the surface, s; ``None`` without arrival times."""
    display = _surface_display(nodes)
    if display is None or _surface_times(nodes) is None:
        return None
    low, high = display.GetScalarRange()
    return float(low), float(high)


def show_legend(context: SceneContext, nodes: ResultNodes, visible: bool = True) -> None:
    """Show or hide the legend of the arrival-time colors ("Arrival (s)")."""
    import slicer

    if arrival_time_range(nodes) is None:
        return
    if not context.scene.IsNodeClassRegistered("vtkMRMLColorLegendDisplayNode"):
        context.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.surface)
    if legend is None:
        if not visible:
            return
        legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(nodes.surface)
        legend.SetTitleText("Arrival (s)")
        legend.SetLabelFormat("%.1f")
        legend.SetNumberOfLabels(LEGEND_LABELS)
        legend.SetSize(0.09, 0.42)
        legend.SetPosition(0.98, 0.5)
        for text in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
            text.SetFontFamilyToArial()
            text.SetFontSize(_LEGEND_FONT_SIZE)
    legend.SetVisibility(visible)


def legend_visible(nodes: ResultNodes) -> bool:
    """Whether the legend of the arrival-time colors is shown."""
    import slicer

    if nodes.surface is None or nodes.surface.GetScene() is None:
        return False
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.surface)
    return legend is not None and bool(legend.GetVisibility())


def show_in_slices(context: SceneContext, volume: Any | None) -> None:
    """Show a volume in all slice views, fitted; ``None`` empties them."""
    scene = context.scene
    identifier = None if volume is None else volume.GetID()
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        composite.SetForegroundVolumeID(None)
        composite.SetBackgroundVolumeID(identifier)
    logics = context.application_logic.GetSliceLogics()
    for number in range(logics.GetNumberOfItems() if logics is not None and volume is not None else 0):
        logics.GetItemAsObject(number).FitSliceToBackground()


def show_only(context: SceneContext, results: Iterable[ResultNodes], shown: ResultNodes) -> None:
    """Show one of several results: what was visible of the others is visible of ``shown`` now.

    If nothing was visible, its volume rendering is. Camera and time stay (see
    :class:`DSAReconLib.mrml.sequence.TimeLink`).
    """
    living = [nodes for nodes in results if nodes.in_scene()]
    volume = any(volume_visible(nodes) for nodes in living)
    surface = any(surface_visible(nodes) for nodes in living)
    legend = any(legend_visible(nodes) for nodes in living)
    for nodes in living:
        if nodes.browser is not shown.browser:
            show_volume(nodes, False)
            show_surface(nodes, False)
            show_legend(context, nodes, False)
    show_surface(shown, surface)
    show_legend(context, shown, legend and surface)
    show_volume(shown, volume or not surface or shown.surface is None)


def volume_visible(nodes: ResultNodes) -> bool:
    """Whether the volume rendering is shown."""
    display = nodes.rendering
    return display is not None and bool(display.GetVisibility())


def surface_visible(nodes: ResultNodes) -> bool:
    """Whether the surface is shown."""
    display = _surface_display(nodes)
    return display is not None and bool(display.GetVisibility())


def prepare_threed_view(view_node: Any) -> None:
    """Dark background, no box, no axis labels: what angiograms are looked at on."""
    view_node.SetBackgroundColor(*_BACKGROUND)
    view_node.SetBackgroundColor2(*_BACKGROUND)
    view_node.SetBoxVisible(False)
    view_node.SetAxisLabelsVisible(False)


def add_surface_display(nodes: ResultNodes) -> None:
    """Give the surface, if there is one, its display node: hidden, colored by arrival time if that is known."""
    if nodes.surface is None:
        return
    nodes.surface.CreateDefaultDisplayNodes()
    display = nodes.surface.GetDisplayNode()
    display.SetVisibility(False)
    display.SetColor(*_PLAIN_COLOR)
    display.SetAmbient(0.15)
    display.SetDiffuse(0.85)
    display.SetSpecular(0.25)
    display.SetPower(20)
    display.SetVisibility2D(False)
    color_surface(nodes, ARRIVAL_ARRAY)


def _attach(context: SceneContext, nodes: ResultNodes, display: Any, properties: Any) -> None:
    display.SetFollowVolumeDisplayNode(False)
    display.SetIgnoreVolumeDisplayNodeThreshold(True)
    display.SetAndObserveVolumePropertyNodeID(properties.GetID())
    nodes.proxy.AddAndObserveDisplayNodeID(display.GetID())


def _mapper_class(mapper: str) -> str:
    if mapper not in MAPPERS:
        raise ValueError(f"mapper must be one of {', '.join(MAPPERS)}; got {mapper!r}")
    return MAPPERS[mapper]


def _properties(nodes: ResultNodes) -> Any | None:
    display = nodes.rendering
    return None if display is None else display.GetVolumePropertyNode()


def _surface_display(nodes: ResultNodes) -> Any | None:
    if nodes.surface is None or nodes.surface.GetScene() is None:
        return None
    return nodes.surface.GetDisplayNode()


def _surface_times(nodes: ResultNodes) -> tuple[float, float] | None:
    polydata = None if nodes.surface is None else nodes.surface.GetPolyData()
    return None if polydata is None else arrival_range_s(polydata)


def _set_technique(context: SceneContext, maximum_projection: bool) -> None:
    """MRML keeps the ray casting technique per view, not per volume."""
    import slicer

    composite, maximum = slicer.vtkMRMLViewNode.Composite, slicer.vtkMRMLViewNode.MaximumIntensityProjection
    for number in range(context.scene.GetNumberOfNodesByClass("vtkMRMLViewNode")):
        view = context.scene.GetNthNodeByClass(number, "vtkMRMLViewNode")
        if maximum_projection:
            view.SetRaycastTechnique(maximum)
        elif view.GetRaycastTechnique() == maximum:
            view.SetRaycastTechnique(composite)
