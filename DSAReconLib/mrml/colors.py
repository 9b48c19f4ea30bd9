"""Colors of arrival times: early red, late blue, as color-coded angiography shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

ARRIVAL_STOPS = (
    (0.86, 0.10, 0.10),
    (0.98, 0.45, 0.10),
    (0.99, 0.80, 0.22),
    (0.62, 0.93, 0.30),
    (0.18, 0.84, 0.62),
    (0.16, 0.62, 0.95),
    (0.28, 0.35, 0.90),
)
"""RGB from the first arrival to the last, evenly spaced, all bright enough for a black background."""

LEGEND_LABELS = 5

_ROLE_ATTRIBUTE, _ROLE = "DSARecon.Colors", "arrival"
_STEPS = 256


def arrival_color_node(scene: Any) -> Any:
    """The scene's color table of arrival times (vtkMRMLColorTableNode), made if it is missing."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLColorTableNode")
        if node.GetAttribute(_ROLE_ATTRIBUTE) == _ROLE:
            return node
    import slicer

    node = slicer.vtkMRMLColorTableNode()
    node.SetName("Arrival time (early to late)")
    node.SetTypeToUser()
    node.SetAttribute("Category", "DSARecon")
    node.SetAttribute(_ROLE_ATTRIBUTE, _ROLE)
    node.SetNumberOfColors(_STEPS)
    stops = np.array(ARRIVAL_STOPS)
    place = np.linspace(0, len(stops) - 1, _STEPS)
    for number, at in enumerate(place):
        red, green, blue = (float(np.interp(at, range(len(stops)), stops[:, channel])) for channel in range(3))
        node.SetColor(number, str(number), red, green, blue, 1.0)
    return scene.AddNode(node)


def round_range(low_s: float, high_s: float) -> tuple[float, float]:
    """Range of times widened so that all labels of a legend fall on tenths of a second; never empty."""
    steps, low = LEGEND_LABELS - 1, np.floor(low_s * 10)
    width = steps * max(np.ceil((high_s * 10 - low) / steps), 1)
    return float(low / 10), float((low + width) / 10)
