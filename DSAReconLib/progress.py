"""How long work talks to whoever started it: progress, warnings, previews, cancelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Progress(Protocol):
    """What library code may call while it works. Every call is cheap and thread safe."""

    def report(
        self,
        stage: str,
        fraction: float,
        message: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Say that ``fraction`` (0 to 1) of ``stage`` is done; ``metrics`` are named numbers."""

    def warn(self, code: str, message: str) -> None:
        """Say something that the user should know although the work goes on."""

    def preview(self, volume: NDArray[np.float32]) -> None:
        """Show an intermediate attenuation volume (z, y, x) in 1/mm."""

    def check_cancelled(self) -> None:
        """Raise :class:`~DSAReconLib.errors.JobCancelled` if the work shall stop.

        Call it at least twice a second: cancelling must take effect within 2 s.
        """


class SilentProgress:
    """Progress that nobody watches; collects the warnings."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []

    def report(
        self,
        stage: str,
        fraction: float,
        message: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Ignore the report."""

    def warn(self, code: str, message: str) -> None:
        """Keep the warning in :attr:`warnings`."""
        self.warnings.append((code, message))

    def preview(self, volume: NDArray[np.float32]) -> None:
        """Ignore the preview."""

    def check_cancelled(self) -> None:
        """Never cancelled."""
