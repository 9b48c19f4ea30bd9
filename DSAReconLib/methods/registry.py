"""The methods by name. Imports no method until it is asked for (and only its config then)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from DSAReconLib.errors import ConfigError

if TYPE_CHECKING:
    from DSAReconLib.acquisition import Angiogram
    from DSAReconLib.checkpoint import CheckpointStore
    from DSAReconLib.geometry import VolumeGrid
    from DSAReconLib.progress import Progress
    from DSAReconLib.reconstruction import Reconstruction


class Reconstruct(Protocol):
    """Signature of every method's ``reconstruct.reconstruct``."""

    def __call__(
        self,
        angiogram: Angiogram,
        grid: VolumeGrid,
        config: Any,
        *,
        device: str,
        progress: Progress,
        checkpoint: CheckpointStore | None = None,
    ) -> Reconstruction:
        """Reconstruct the selected views on ``grid``; ``device`` is ``"cpu"`` or ``"cuda[:i]"``."""


@dataclass(frozen=True)
class MethodEntry:
    """What the registry knows of a method without importing it; ``needs_torch``: it cannot run without PyTorch."""

    name: str
    title: str
    summary: str
    needs_torch: bool = False

    def config_module(self) -> Any:
        """Module with the dataclass ``Config`` and ``PRESETS`` (standard library only)."""
        return importlib.import_module(f"DSAReconLib.methods.{self.name}.config")

    def reconstruct(self) -> Reconstruct:
        """The method itself; imports its numerical dependencies."""
        function: Callable[..., Any] = importlib.import_module(
            f"DSAReconLib.methods.{self.name}.reconstruct"
        ).reconstruct
        return function


_ENTRIES = (
    MethodEntry("transit", "Transit", "Sparse transit-time model with a blind inlet curve, refined as free Gaussians."),
    MethodEntry("fdk", "FDK", "Static filtered backprojection of the views: the clinical 3D reference."),
    MethodEntry("dsa4d", "4D-DSA", "FDK constraint volume times back-projected temporal ratios (clinical 4D)."),
    MethodEntry("tiavox", "TiAVox", "Time-aware attenuation voxels, fitted by gradient descent.", needs_torch=True),
    MethodEntry(
        "vpal",
        "VPAL",
        "Vessel probability, static and dynamic attenuation as neural fields.",
        needs_torch=True,
    ),
    MethodEntry("radiative", "4DRGS", "Anisotropic Gaussians with changing attenuation, splatted to line integrals."),
    MethodEntry(
        "togs",
        "TOGS",
        "Alpha-composited Gaussians with a temporal opacity offset: a model of pictures.",
        needs_torch=True,
    ),
)
METHODS: dict[str, MethodEntry] = {entry.name: entry for entry in _ENTRIES}
DEFAULT_METHOD = "transit"


def method_entry(name: str) -> MethodEntry:
    """Entry of a method; ConfigError naming the known ones if there is none."""
    try:
        return METHODS[name]
    except KeyError:
        raise ConfigError(
            f"There is no method {name!r}.", hint=f"Choose one of: {', '.join(METHODS)}.", code="config.method"
        ) from None
