"""A desktop Slicer for tests: PySide6 behind ``qt`` and ``ctk``, slicer-core behind ``slicer``.

:func:`desktop` makes it once per process; modules under test then import ``qt``, ``ctk``
and ``slicer`` as in Slicer. Our own small re-implementation: it covers what this
repository's panel uses and says so when something is missing.
"""

from helpers.slicer_desktop.application import Desktop, desktop

__all__ = ["Desktop", "desktop"]
