"""What the page knows: names of the shared state, with their first values."""

from __future__ import annotations

from typing import Any

from DSAReconLib.mrml import presets
from DSAReconLib.mrml.colors import ARRIVAL_STOPS
from DSAReconLib.viewer.movie import suffixes
from DSAReconLib.viewer.playback import SPEEDS
from DSAReconLib.viewer.scene import ORIENTATIONS, ViewerScene

FOLLOW_CAMERA, FOLLOW_ANGLES, FOLLOW_RUN = "camera", "angles", "run"
TITLE = "DSARecon viewer"
TIME_STEPS = 400


def first_state(scene: ViewerScene) -> dict[str, Any]:
    """State of a new viewer; what depends on the result is filled in by :func:`result_state`."""
    stops = ", ".join("rgb({} {} {})".format(*(round(255 * part) for part in stop)) for stop in ARRIVAL_STOPS)
    return {
        "results": [{"title": name, "value": number} for number, name in enumerate(scene.names)],
        "result": 0,
        "busy": "",
        "at_rest": False,
        "notice": "",
        "time_s": 0.0,
        "playing": False,
        "speed": 1.0,
        "speeds": [{"title": f"{speed:g} \u00d7", "value": speed} for speed in SPEEDS],
        "show_volume": True,
        "show_surface": False,
        "arrival_colors": True,
        "presets": list(presets.PRESETS),
        "preset": presets.PRESETS[0],
        "follow": FOLLOW_CAMERA,
        "primary_deg": 0.0,
        "secondary_deg": 0.0,
        "angle_text": "",
        "window": [0.0, 1.0],
        "window_limit": 1.0,
        "inverted": False,
        "novel_problem": "",
        "show_acquired": False,
        "acquired_reason": "",
        "orientations": list(ORIENTATIONS),
        "orientation": ORIENTATIONS[1],
        "slice_offset": 0.0,
        "slice_range": [0.0, 1.0],
        "slice_step": 0.5,
        "slice_map": "",
        "slice_maps": [],
        "plot": {"curves": [], "time_ticks": [], "value_ticks": []},
        "points": 0,
        "arrival_gradient": f"linear-gradient(to right, {stops})",
        "movie": {"state": "idle", "percent": 0, "url": "", "name": ""},
        "movie_formats": suffixes(),
        "trame__title": TITLE,
    }


def result_state(scene: ViewerScene) -> dict[str, Any]:
    """What belongs to the selected result."""
    from DSAReconLib.mrml.display import arrival_time_range

    start, end = scene.time_range_s
    nodes = scene.current.nodes
    arrival = arrival_time_range(nodes)
    times = nodes.times_s
    return {
        "time_start": start,
        "time_end": end,
        "time_step": (end - start) / TIME_STEPS,
        "is_static": nodes.is_static,
        "frame_count": len(times),
        "has_surface": nodes.surface is not None,
        "arrival_range": [] if arrival is None else [f"{value:.1f}" for value in arrival],
        "facts": _facts(scene),
    }


def _facts(scene: ViewerScene) -> str:
    nodes = scene.current.nodes
    size = " \u00d7 ".join(str(count) for count in nodes.proxy.GetImageData().GetDimensions())
    spacing = min(nodes.proxy.GetSpacing())
    gaussians = scene.result.record.get("num_gaussians")
    parts = [f"{size} voxels of {spacing:.2f} mm"]
    if gaussians:
        parts.append(f"{int(gaussians):,} Gaussians")
    return " · ".join(parts)
