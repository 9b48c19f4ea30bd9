"""What scene code works on: the scene and the logics of the application around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SceneContext:
    """A scene with the logics that this library needs.

    Parameters
    ----------
    scene
        vtkMRMLScene.
    sequences_logic
        vtkSlicerSequencesLogic of the scene (without it sequence browsers do not exist).
    volume_rendering_logic
        vtkSlicerVolumeRenderingLogic of the scene.
    application_logic
        vtkMRMLApplicationLogic of the scene.
    default_mapper
        ``"gpu"`` or ``"cpu"``: who casts the rays of volume renderings unless told otherwise.
    """

    scene: Any
    sequences_logic: Any
    volume_rendering_logic: Any
    application_logic: Any
    default_mapper: str = "gpu"

    @classmethod
    def of_desktop(cls) -> SceneContext:
        """The scene of the running desktop Slicer."""
        raise NotImplementedError

    @classmethod
    def of_trame(cls, slicer_app: Any, *, default_mapper: str = "cpu") -> SceneContext:
        """The scene of a ``trame_slicer.core.SlicerApp``; adds the logics that it lacks."""
        raise NotImplementedError

    @property
    def subject_hierarchy(self) -> Any:
        """vtkMRMLSubjectHierarchyNode of the scene (created if missing)."""
        raise NotImplementedError

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Add many nodes without a redraw in between."""
        raise NotImplementedError
        yield
