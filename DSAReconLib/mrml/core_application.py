"""A Slicer without windows, made of slicer-core: for tests, batch scripts and pictures."""

from __future__ import annotations

from pathlib import Path

from DSAReconLib.mrml.context import SceneContext


def core_context(*, default_mapper: str = "cpu") -> SceneContext:
    """A new scene with logics, color nodes and what saving as ``.mrb`` needs.

    Also sets ``slicer.mrmlScene``, which helper functions of Slicer use. The context keeps
    everything alive.
    """
    raise NotImplementedError


def save_bundle(context: SceneContext, path: Path) -> Path:
    """Write the scene as ``.mrb`` (all data inside); ResourceError if that fails."""
    raise NotImplementedError


def read_bundle(context: SceneContext, path: Path) -> None:
    """Replace the scene's content by that of a ``.mrb``; ResultError if that fails."""
    raise NotImplementedError
