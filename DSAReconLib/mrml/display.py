"""How results look: volume rendering, surface, slices; one stable transfer function for all frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.result import ResultNodes


def show_volume(nodes: ResultNodes, visible: bool = True) -> None:
    """Show or hide the volume rendering of the selected frame."""
    raise NotImplementedError


def apply_preset(context: SceneContext, nodes: ResultNodes, preset: str, *, threshold: float | None = None) -> None:
    """Give the volume rendering one of :data:`DSAReconLib.mrml.presets.PRESETS`.

    ``threshold`` (1/mm) is the attenuation from which vessels are visible; default the
    surface threshold that the method found. Frames never change the transfer function.
    ``"X-ray MIP"`` also switches the 3D views to maximum intensity projection, the others
    switch them back.
    """
    raise NotImplementedError


def current_preset(nodes: ResultNodes) -> str:
    """Name of the preset in use."""
    raise NotImplementedError


def set_mapper(context: SceneContext, nodes: ResultNodes, mapper: str) -> ResultNodes:
    """Let the ``"gpu"`` or the ``"cpu"`` cast the rays; the nodes with the new display node."""
    raise NotImplementedError


def show_surface(nodes: ResultNodes, visible: bool = True, *, opacity: float | None = None) -> None:
    """Show or hide the vessel surface; nothing happens if the result has none."""
    raise NotImplementedError


def color_surface(nodes: ResultNodes, by: str, *, time_range_s: tuple[float, float] | None = None) -> None:
    """Color the surface ``by`` ``"arrival_time"`` (early red, late blue) or ``"plain"``.

    ``time_range_s`` are the ends of the scale; default the range of the result.
    """
    raise NotImplementedError


def show_legend(context: SceneContext, nodes: ResultNodes, visible: bool = True) -> None:
    """Show or hide the legend of the arrival-time colors ("Arrival (s)")."""
    raise NotImplementedError


def show_in_slices(context: SceneContext, volume: Any | None) -> None:
    """Show a volume in all slice views, fitted; ``None`` empties them."""
    raise NotImplementedError


def show_only(context: SceneContext, results: Iterable[ResultNodes], shown: ResultNodes) -> None:
    """Show one of several results: what was visible of the others is visible of ``shown`` now.

    Camera and time stay (see :class:`DSAReconLib.mrml.sequence.TimeLink`).
    """
    raise NotImplementedError


def prepare_threed_view(view_node: Any) -> None:
    """Dark background, no box, no axis labels: what angiograms are looked at on."""
    raise NotImplementedError
