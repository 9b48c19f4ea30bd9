"""Two 3D views that look from the same place, whichever of them is turned."""

from __future__ import annotations

from typing import Any


class LinkedCameras:
    """Copies the camera that was moved to the other one.

    Parameters
    ----------
    first, second
        vtkMRMLCameraNode; where they differ at first, ``first`` counts.
    """

    def __init__(self, first: Any, second: Any) -> None:
        self._nodes = first, second
        self._seen: list[Any] = [None, _place(second)]

    def follow(self) -> bool:
        """Copy what has changed since the last call; whether something had."""
        for number, node in enumerate(self._nodes):
            place = _place(node)
            if place != self._seen[number]:
                _move(self._nodes[1 - number], place)
                self._seen = [_place(node) for node in self._nodes]
                return True
        return False


def _place(node: Any) -> tuple[Any, ...]:
    return (
        tuple(node.GetPosition()),
        tuple(node.GetFocalPoint()),
        tuple(node.GetViewUp()),
        node.GetViewAngle(),
        node.GetParallelProjection(),
        node.GetParallelScale(),
    )


def _move(node: Any, place: tuple[Any, ...]) -> None:
    was_modifying = node.StartModify()
    node.SetPosition(*place[0])
    node.SetFocalPoint(*place[1])
    node.SetViewUp(*place[2])
    node.SetViewAngle(place[3])
    node.SetParallelProjection(place[4])
    node.SetParallelScale(place[5])
    node.EndModify(was_modifying)
    node.ResetClippingRange()
