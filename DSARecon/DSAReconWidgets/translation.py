"""Slicer's translation where there is one."""

from __future__ import annotations

try:
    from slicer.i18n import tr
except ImportError:  # slicer-core without the desktop application

    def tr(text: str) -> str:
        """The text itself."""
        return text


__all__ = ["tr"]
