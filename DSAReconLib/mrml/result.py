"""A result folder as nodes of a scene: loading, finding again, removing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ResultError
from DSAReconLib.io.result_folder import ResultFolder, open_result
from DSAReconLib.mrml import hierarchy, nodes, presets, volumes
from DSAReconLib.mrml.colors import arrival_color_node, round_range
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.coordinates import ijk_to_ras, vtk_matrix
from DSAReconLib.mrml.display import add_rendering, add_surface_display, show_only
from DSAReconLib.mrml.nodes import ResultNodes, nodes_of_browser
from DSAReconLib.mrml.sequence import add_sequence, select_time
from DSAReconLib.mrml.surface import read_surface
from DSAReconLib.reconstruction import DynamicVolume

__all__ = ["ResultNodes", "load_result", "remove_result", "results_in_scene", "same_run"]

_MAIN_MAPS = {
    "attenuation_peak": ("peak attenuation", "Peak attenuation", "1/mm"),
    "arrival_time": ("arrival time", "Bolus arrival time", "s"),
    "vessel_probability": ("vessel probability", "Vessel probability", "1"),
}
_UNITS = {
    "time_to_peak": "s",
    "mean_transit_time": "s",
    "blood_flow": "1/s",
    "blood_volume": "1",
    "confidence": "1",
    "branch_confidence": "1",
}
_READERS = 2
_VALUES_AT_ONCE = 1 << 25
_BRIGHT_PERCENTILE = 99.5


def load_result(
    context: SceneContext,
    folder: Path,
    *,
    name: str | None = None,
    preset: str | None = None,
    mapper: str | None = None,
) -> ResultNodes:
    """Load a result folder into the scene: 4D sequence, maps, surface, colors, rendering.

    Everything goes into one folder of the subject hierarchy, under the study of the fill
    run if that is loaded. The new result is shown instead of other results, at the time
    when its vessels are filled most. A result that is already in the scene (same folder) is
    replaced: it may have been computed again, and its old nodes would show something else.

    Parameters
    ----------
    name
        What the user sees; default made of the method and the number of views.
    preset
        One of :data:`DSAReconLib.mrml.presets.PRESETS`; default the first.
    mapper
        ``"gpu"`` or ``"cpu"``; default that of the context.

    Raises
    ------
    ResultError
        Not a result folder, or damaged; the scene is as before.
    """
    chosen = preset or presets.PRESETS[0]
    presets.preset(chosen)
    content = _read(Path(folder).resolve())
    others = results_in_scene(context)
    for old in others:
        if old.folder == content.result.folder:
            remove_result(context, old)
    others = [other for other in others if other.in_scene()]
    label = _unique_name(name or _default_name(content.result), {other.name for other in others})
    with context.batch():
        loaded = _add_nodes(context, content, label)
        add_rendering(context, loaded, chosen, mapper)
        add_surface_display(loaded)
        key, sources = str(content.result.folder), loaded.source_uids
        hierarchy.place(context, key, label, loaded.all_nodes(), sources)
    select_time(loaded.browser, content.fullest_s)
    show_only(context, [*others, loaded], loaded)
    return loaded


def results_in_scene(context: SceneContext) -> list[ResultNodes]:
    """The results that the scene holds, in the order of loading (also after reading a saved scene)."""
    scene, found = context.scene, []
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        folder, result = browser.GetAttribute(nodes.FOLDER_ATTRIBUTE), None
        if folder:
            with suppress(ResultError):
                result = open_result(Path(folder))
        owned = nodes_of_browser(browser, result)
        if owned is not None:
            found.append(owned)
    return found


def remove_result(context: SceneContext, removed: ResultNodes) -> None:
    """Take a result out of the scene, with its folder and displays; twice does nothing more."""
    scene = context.scene
    rendering = removed.rendering
    properties = None if rendering is None else rendering.GetVolumePropertyNode()
    with context.batch():
        for node in [*reversed(list(removed.all_nodes())), properties]:
            if node is None or node.GetScene() is not scene:
                continue
            for helper in _helpers(node):
                scene.RemoveNode(helper)
            hierarchy.remove_node(context, node)
        hierarchy.remove_folder(context, str(removed.folder))


def same_run(first: ResultNodes, second: ResultNodes) -> bool:
    """Whether two results were made of the same acquisition."""
    return bool(first.source_uids) and first.source_uids == second.source_uids


@dataclass(frozen=True)
class _Content:
    """What the files of a result hold, read before the scene is touched."""

    result: ResultFolder
    model: DynamicVolume
    maps: dict[str, NDArray[np.float32]]
    surface: Any | None
    frames: list[NDArray[Any]]
    stored: volumes.FixedPoint
    times_s: NDArray[np.float64]
    fullest_s: float
    bright: float


def _read(folder: Path) -> _Content:
    result = open_result(folder)
    names = [*_MAIN_MAPS, *result.record.get("maps", ())]
    with ThreadPoolExecutor(_READERS) as pool:
        model_read = pool.submit(result.load_volume)
        maps_read = {name: pool.submit(result.load_map, name) for name in names}
        surface_read = pool.submit(read_surface, result)
        model = model_read.result()
        times = np.array(result.record.get("sequence_times_s") or result.times_s[:1], float)
        frames, stored, fullest = _frames(model, times)
        maps = {name: read.result() for name, read in maps_read.items()}
        surface = surface_read.result()
    peak, threshold = maps["attenuation_peak"], float(result.record["surface_threshold"])
    vessels = peak[peak >= threshold]
    bright = float(np.percentile(vessels, _BRIGHT_PERCENTILE)) if len(vessels) else 2 * threshold
    return _Content(result, model, maps, surface, frames, stored, times, float(times[fullest]), bright)


def _frames(model: DynamicVolume, times: NDArray[np.float64]) -> tuple[list[NDArray[Any]], volumes.FixedPoint, int]:
    """Stored frames (z, y, x), one scale for all, and the number of the one with most contrast.

    Computed from the model, not read from ``attenuation.seq.nrrd``: the same values, ten
    times faster, and memory only where there are vessels.
    """
    weights = model.basis.at(times)
    blocks = np.array_split(weights, max(1, weights.shape[0] * model.coefficients.shape[1] // _VALUES_AT_ONCE))
    low = high = 0.0
    contrast: list[float] = []
    for block in blocks:
        values = block @ model.coefficients
        low, high = min(low, float(values.min(initial=0))), max(high, float(values.max(initial=0)))
        contrast += values.sum(1, dtype=np.float64).tolist()
    stored = volumes.FixedPoint.for_range(low, high)
    frames = []
    for block in blocks:
        for values in stored.store(block @ model.coefficients):
            frame = volumes.sparse_zeros((model.grid.num_voxels,), stored.dtype)
            frame[slice(None) if model.support is None else model.support] = values
            frames.append(frame.reshape(model.grid.shape_zyx))
    return frames, stored, int(np.argmax(contrast))


def _default_name(result: ResultFolder) -> str:
    title = str(result.record.get("title") or result.record.get("method") or "Result")
    return f"{title} {len(result.selected_views)} views"


def _unique_name(name: str, taken: set[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name} ({number})"
    return unique


def _add_nodes(context: SceneContext, content: _Content, name: str) -> ResultNodes:
    matrix = ijk_to_ras(content.model.grid)
    _, browser, proxy = _add_attenuation(context, content, name, matrix)
    browser.SetAttribute(nodes.NAME_ATTRIBUTE, name)
    browser.SetAttribute(nodes.FOLDER_ATTRIBUTE, str(content.result.folder))
    browser.SetAttribute(
        nodes.SOURCES_ATTRIBUTE, " ".join(map(str, content.result.record.get("input_sop_instance_uids", ())))
    )
    browser.SetAttribute(nodes.THRESHOLD_ATTRIBUTE, repr(float(content.result.record["surface_threshold"])))
    browser.SetAttribute(nodes.BRIGHT_ATTRIBUTE, repr(content.bright))
    bright = content.bright / content.stored.scale
    volumes.show_range(proxy, 0.0, bright)
    content.stored.describe(proxy, "Attenuation", "1/mm")
    _add_maps(context, content, name, browser, matrix)
    if content.surface is not None:
        model = context.scene.AddNewNodeByClass("vtkMRMLModelNode", f"{name} vessels")
        model.SetAndObservePolyData(content.surface)
        browser.SetNodeReferenceID(nodes.SURFACE, model.GetID())
    owned = nodes_of_browser(browser, content.result)
    if owned is None:
        raise RuntimeError("the sequence browser made no proxy node")
    return owned


def _add_attenuation(
    context: SceneContext, content: _Content, name: str, matrix: NDArray[np.float64]
) -> tuple[Any, Any, Any]:
    import slicer

    frames = []
    for frame in content.frames:
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetName(name)
        volume.SetIJKToRASMatrix(vtk_matrix(matrix))
        volume.SetAndObserveImageData(volumes.image_data(frame))
        content.stored.describe(volume, "Attenuation", "1/mm")
        frames.append(volume)
    sequence, browser, proxy = add_sequence(context, name, frames, content.times_s)
    content.stored.describe(sequence, "Attenuation", "1/mm")
    return sequence, browser, proxy


def _add_maps(context: SceneContext, content: _Content, name: str, browser: Any, matrix: NDArray[np.float64]) -> None:
    references = {
        "attenuation_peak": nodes.PEAK,
        "vessel_probability": nodes.PROBABILITY,
        "arrival_time": nodes.ARRIVAL,
    }
    for stem, values in content.maps.items():
        if not np.isfinite(values).any():
            continue
        label, quantity, unit = _MAIN_MAPS.get(stem) or (
            stem.replace("_", " "),
            stem.replace("_", " ").capitalize(),
            "",
        )
        node = volumes.add_map(
            context.scene, f"{name} {label}", values, matrix, quantity=quantity, unit=unit or _UNITS.get(stem, "")
        )
        node.SetAttribute(nodes.MAP_ATTRIBUTE, stem)
        _show_map(context, node, stem, values, content.bright)
        if stem in references:
            browser.SetNodeReferenceID(references[stem], node.GetID())
        else:
            browser.AddNodeReferenceID(nodes.MAP, node.GetID())


def _show_map(context: SceneContext, node: Any, stem: str, values: NDArray[np.float32], bright: float) -> None:
    """A range that shows the vessels, and the arrival colors for times."""
    if stem == "attenuation_peak":
        volumes.show_range(node, 0.0, bright)
        return
    inside = values[np.isfinite(values) & (values != 0)]
    low, high = np.percentile(inside, [1, 99]) if len(inside) else (0.0, 1.0)
    if _UNITS.get(stem) == "s" or stem == "arrival_time":
        low, high = round_range(low, high)
        volumes.show_range(node, low, high, color_node_id=arrival_color_node(context.scene).GetID())
    else:
        volumes.show_range(node, 0.0, float(high) if high > 0 else 1.0)


def _helpers(node: Any) -> list[Any]:
    """Display and storage nodes, which a removed node leaves behind."""
    helpers = []
    if node.IsA("vtkMRMLDisplayableNode"):
        helpers += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        helpers += [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())]
    return [helper for helper in helpers if helper is not None]
