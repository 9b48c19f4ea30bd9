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
    keep_alive
        Further logics that must live as long as the scene is used.
    """

    scene: Any
    sequences_logic: Any
    volume_rendering_logic: Any
    application_logic: Any
    default_mapper: str = "gpu"
    keep_alive: tuple[Any, ...] = ()

    @classmethod
    def of_desktop(cls) -> SceneContext:
        """The scene of the running desktop Slicer."""
        import slicer

        logic = slicer.modules.volumerendering.logic()
        mapper = "cpu" if "CPU" in (logic.GetDefaultRenderingMethod() or "") else "gpu"
        return cls(
            slicer.mrmlScene,
            slicer.modules.sequences.logic(),
            logic,
            slicer.app.applicationLogic(),
            default_mapper=mapper,
        )

    @classmethod
    def of_trame(cls, slicer_app: Any, *, default_mapper: str = "cpu") -> SceneContext:
        """The scene of a ``trame_slicer.core.SlicerApp``; adds the sequences logic, which it lacks.

        Sets ``slicer.mrmlScene`` too, which helper functions of Slicer use.
        """
        import slicer

        application = slicer_app.app_logic
        sequences = application.GetModuleLogic("Sequences")
        if sequences is None:
            sequences = slicer_app.register_module_logic(slicer.vtkSlicerSequencesLogic(), logic_name="Sequences")
        slicer.mrmlScene = slicer_app.scene
        rendering = application.GetModuleLogic("VolumeRendering")
        return cls(slicer_app.scene, sequences, rendering, application, default_mapper, keep_alive=(slicer_app,))

    @property
    def subject_hierarchy(self) -> Any:
        """Subject hierarchy node of the scene (created if missing)."""
        import slicer

        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Add many nodes without a redraw in between."""
        self.scene.StartState(self.scene.BatchProcessState)
        try:
            yield
        finally:
            self.scene.EndState(self.scene.BatchProcessState)
