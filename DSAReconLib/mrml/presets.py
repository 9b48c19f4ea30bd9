"""Transfer functions for vessels, built from the data's own threshold and peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Preset:
    """How attenuation becomes opacity and color.

    Positions are relative: 0 = no contrast, 1 = the threshold from which a voxel counts as
    vessel, 2 = the attenuation of the brightest vessels; linear in between.

    Parameters
    ----------
    opacity
        (position, opacity per voxel) points.
    colors
        (position, color) points.
    gradient_opacity
        (relative gradient, opacity) points; a gradient of 1 climbs from 0 to the threshold
        within one voxel. Empty = the gradient does not matter.
    shade
        Light the vessels' walls.
    ambient, diffuse, specular, specular_power
        Material, if shaded.
    maximum_projection
        Show the brightest voxel along each ray instead of blending.
    """

    opacity: tuple[tuple[float, float], ...]
    colors: tuple[tuple[float, Color], ...]
    gradient_opacity: tuple[tuple[float, float], ...] = ()
    shade: bool = True
    ambient: float = 0.5
    diffuse: float = 0.9
    specular: float = 0.3
    specular_power: float = 20.0
    maximum_projection: bool = False


_SOLID = ((0.0, 0.0), (0.5, 0.0), (0.75, 0.25), (1.0, 0.65), (1.3, 0.95), (2.0, 1.0))
_PRESETS = {
    "DSA vessels": Preset(
        opacity=_SOLID,
        colors=(
            (0.5, (0.92, 0.66, 0.52)),
            (1.0, (1.0, 0.84, 0.70)),
            (1.4, (1.0, 0.93, 0.84)),
            (2.0, (1.0, 0.98, 0.95)),
        ),
    ),
    "Angiography red": Preset(
        opacity=_SOLID,
        colors=(
            (0.5, (0.62, 0.05, 0.05)),
            (1.0, (0.86, 0.12, 0.09)),
            (1.4, (0.98, 0.30, 0.20)),
            (2.0, (1.0, 0.62, 0.45)),
        ),
        specular=0.5,
        specular_power=30.0,
    ),
    "Glass": Preset(
        opacity=((0.0, 0.0), (0.45, 0.0), (0.8, 0.30), (1.1, 0.42), (1.5, 0.36), (2.0, 0.45)),
        colors=((0.5, (0.45, 0.80, 1.0)), (1.0, (0.72, 0.93, 1.0)), (1.5, (0.95, 1.0, 1.0)), (2.0, (1.0, 1.0, 1.0))),
        gradient_opacity=((0.0, 0.35), (0.2, 0.8), (0.5, 1.0)),
        ambient=1.0,
        diffuse=1.0,
        specular=0.9,
        specular_power=45.0,
    ),
    "X-ray MIP": Preset(
        opacity=((0.0, 0.0), (0.15, 0.0), (1.0, 0.65), (2.0, 1.0)),
        colors=((0.0, (0.0, 0.0, 0.0)), (1.0, (0.62, 0.62, 0.62)), (2.0, (1.0, 1.0, 1.0))),
        shade=False,
        maximum_projection=True,
    ),
}
PRESETS = tuple(_PRESETS)
"""Names as the user sees them; the first is the default."""


def preset(name: str) -> Preset:
    """The preset of that name; ValueError for an unknown one."""
    if name not in _PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    return _PRESETS[name]


def fill_property(node: Any, chosen: Preset, threshold: float, bright: float, voxel_mm: float) -> None:
    """Write a preset into a vtkMRMLVolumePropertyNode.

    Parameters
    ----------
    threshold, bright
        Stored values of positions 1 and 2.
    voxel_mm
        Voxel size: the opacities of the preset are those of one voxel's length.
    """
    import vtk

    def stored(position: float) -> float:
        return threshold * position if position <= 1 else threshold + (position - 1) * (bright - threshold)

    opacity, colors, gradient = vtk.vtkPiecewiseFunction(), vtk.vtkColorTransferFunction(), vtk.vtkPiecewiseFunction()
    for position, value in chosen.opacity:
        opacity.AddPoint(stored(position), value)
    for position, color in chosen.colors:
        colors.AddRGBPoint(stored(position), *color)
    for slope, value in chosen.gradient_opacity or ((0.0, 1.0),):
        gradient.AddPoint(slope * threshold / voxel_mm, value)
    target = node.GetVolumeProperty()
    target.SetInterpolationTypeToLinear()
    target.SetScalarOpacityUnitDistance(voxel_mm)
    target.SetShade(chosen.shade)
    target.SetAmbient(chosen.ambient)
    target.SetDiffuse(chosen.diffuse)
    target.SetSpecular(chosen.specular)
    target.SetSpecularPower(chosen.specular_power)
    node.SetScalarOpacity(opacity)
    node.SetColor(colors)
    node.SetGradientOpacity(gradient)
