"""What the panel remembers in the scene, and the one mapping between it and a :class:`ReconstructionJob`.

Names in snake_case are fields of ``ReconstructionJob`` with its meaning and defaults; where
the job has ``None`` for "automatic", the parameter node has 0 (-1 for the seed, "" for text).
Names in camelCase are the panel's own. Advanced options are not parameters of the node one
by one: ``overrides`` holds, as JSON, the values that differ from the preset, per method.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import slicer
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from DSAReconLib.acquisition.selection import STRATEGIES
from DSAReconLib.acquisition.subtraction import DEFAULT_REGISTRATION, REGISTRATIONS
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.registry import DEFAULT_METHOD, METHODS, method_entry
from DSAReconWidgets.header_values import headerText, parseHeader

AUTOMATIC: dict[str, Any] = {
    "views": 0,
    "size": 0,
    "spacing_mm": 0.0,
    "seed": -1,
    "output_times": 0,
    "view_indices": "",
    "corrections": "",
}
"""Value in the parameter node that stands for ``None`` in the job."""

SAME_IN_JOB = ("method", "preset", "selection", "device", "registration", "report")
"""Parameters that go into the job as they are."""


@parameterNodeWrapper
class DSAReconParameterNode:
    """State of the panel, saved with the scene."""

    # Input: run nodes that the DICOM plugin loaded; without them, files are found in a folder.
    maskRun: slicer.vtkMRMLSequenceNode
    fillRun: slicer.vtkMRMLSequenceNode
    inputFolder: Path = Path()

    # Views
    views: Annotated[int, WithinRange(0, 10000)] = 0
    view_indices: str = ""
    selection: Annotated[str, Choice(list(STRATEGIES))] = "uniform"

    # Reconstruction
    method: Annotated[str, Choice(list(METHODS))] = DEFAULT_METHOD
    preset: str = "balanced"
    device: str = "auto"
    registration: Annotated[str, Choice(list(REGISTRATIONS))] = DEFAULT_REGISTRATION
    size: Annotated[int, WithinRange(0, 2048)] = 0
    spacing_mm: Annotated[float, WithinRange(0.0, 20.0)] = 0.0
    seed: Annotated[int, WithinRange(-1, 2**31 - 1)] = -1
    output_times: Annotated[int, WithinRange(0, 1000)] = 0
    corrections: str = ""
    header: str = ""
    overrides: str = "{}"
    report: bool = True
    outputFolder: Path = Path()
    livePreview: bool = True

    # 4D display
    result: slicer.vtkMRMLSequenceNode
    timeS: float = 0.0
    showVolume: bool = True
    volumePreset: str = ""
    colorByArrival: bool = False
    showSurface: bool = False
    probePoint: slicer.vtkMRMLNode
    probeSegmentation: slicer.vtkMRMLSegmentationNode
    probeSegment: str = ""

    # Novel view
    followCamera: bool = True
    primaryAngleDeg: Annotated[float, WithinRange(-180.0, 180.0)] = 0.0
    secondaryAngleDeg: Annotated[float, WithinRange(-90.0, 90.0)] = 0.0
    window: float = 0.0
    level: float = 0.0


@dataclasses.dataclass(frozen=True)
class OptionSpec:
    """One advanced option of a method, as its ``Config`` describes it.

    Parameters
    ----------
    name
        Field of the config.
    kind
        ``"int"``, ``"float"``, ``"bool"`` or ``"str"``.
    optional
        Whether ``None`` (automatic) is a value.
    default
        Value in the preset that was asked for.
    help, unit, source
        For the tooltip.
    minimum, maximum
        Range, ``None`` where it is open.
    choices
        Allowed texts; empty for any.
    """

    name: str
    kind: str
    optional: bool
    default: Any
    help: str
    unit: str
    source: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]


def presetNames(method: str) -> tuple[str, ...]:
    """Presets of a method."""
    return tuple(method_entry(method).config_module().PRESETS)


def methodOptions(method: str, preset: str = "balanced") -> list[OptionSpec]:
    """Advanced options of a method with their values in a preset."""
    fields = dataclasses.fields(method_entry(method).config_module().Config)
    values = build_config(method, preset)
    specs = []
    for field in fields:
        kind = str(field.type)
        meta = {name: field.metadata.get(name) for name in ("minimum", "maximum")}
        specs.append(
            OptionSpec(
                name=field.name,
                kind=kind.removesuffix("| None").strip(),
                optional=kind.endswith("| None"),
                default=getattr(values, field.name),
                help=field.metadata.get("help", ""),
                unit=field.metadata.get("unit", ""),
                source=field.metadata.get("source", ""),
                choices=tuple(field.metadata.get("choices") or ()),
                **meta,
            )
        )
    return specs


def methodOverrides(parameterNode: DSAReconParameterNode, method: str | None = None) -> dict[str, Any]:
    """Values of the method's options that differ from the preset; damaged text counts as none."""
    try:
        content = json.loads(parameterNode.overrides or "{}")
    except ValueError:
        return {}
    values = content.get(method or parameterNode.method) if isinstance(content, dict) else None
    return dict(values) if isinstance(values, dict) else {}


def setMethodOverride(parameterNode: DSAReconParameterNode, name: str, value: Any) -> None:
    """Remember a value for an option of the current method.

    The value of the preset is not remembered, so that another preset shows its own.

    Raises
    ------
    ConfigError
        No such option, or the value does not fit; nothing is changed.
    """
    method = parameterNode.method
    values = methodOverrides(parameterNode, method)
    config = build_config(method, parameterNode.preset, {name: value})
    if getattr(config, name) == getattr(build_config(method, parameterNode.preset), name):
        values.pop(name, None)
    else:
        values[name] = getattr(config, name)
    _storeOverrides(parameterNode, method, values)


def clearMethodOverrides(parameterNode: DSAReconParameterNode) -> None:
    """Take every option of the current method from the preset again."""
    _storeOverrides(parameterNode, parameterNode.method, {})


def jobFromParameters(
    parameterNode: DSAReconParameterNode,
    out: Path | str,
    *,
    paths: tuple[str, ...] = (),
    mask: str | None = None,
    fill: str | None = None,
) -> ReconstructionJob:
    """The job that the panel asks for.

    Parameters
    ----------
    out
        Result folder.
    paths, mask, fill
        Input as in :class:`ReconstructionJob`; which run nodes or folder they come from is
        the logic's business (``DSAReconLogic.inputOf``).

    Raises
    ------
    ConfigError
        Parameters contradict each other, or an option of the method is out of range.
    """
    values = {name: getattr(parameterNode, name) for name in SAME_IN_JOB}
    for name, automatic in AUTOMATIC.items():
        value = getattr(parameterNode, name)
        values[name] = None if value == automatic else value
    values["header"] = parseHeader(parameterNode.header)
    overrides = methodOverrides(parameterNode)
    build_config(values["method"], values["preset"], overrides)
    if mask or fill:
        paths = ()
    return ReconstructionJob(out=str(out), paths=tuple(paths), mask=mask, fill=fill, overrides=overrides, **values)


def parametersFromJob(parameterNode: DSAReconParameterNode, job: ReconstructionJob) -> None:
    """Set the panel to what a job asked for (inverse of :func:`jobFromParameters`, without its input)."""
    for name in SAME_IN_JOB:
        setattr(parameterNode, name, getattr(job, name))
    for name, automatic in AUTOMATIC.items():
        value = getattr(job, name)
        setattr(parameterNode, name, automatic if value is None else value)
    parameterNode.header = headerText(dict(job.header))
    _storeOverrides(parameterNode, job.method, dict(job.overrides))


def _storeOverrides(parameterNode: DSAReconParameterNode, method: str, values: dict[str, Any]) -> None:
    try:
        content = json.loads(parameterNode.overrides or "{}")
    except ValueError:
        content = {}
    content = content if isinstance(content, dict) else {}
    content.pop(method, None)
    if values:
        content[method] = values
    parameterNode.overrides = json.dumps(content, sort_keys=True)
