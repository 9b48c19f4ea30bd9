"""An acquired run as a sequence of frames with their angles and times."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.acquisition.angiogram import Angiogram
from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.mrml import volumes
from DSAReconLib.mrml.context import SceneContext
from DSAReconLib.mrml.coordinates import vtk_matrix
from DSAReconLib.mrml.hierarchy import UIDS_ATTRIBUTE
from DSAReconLib.mrml.sequence import add_sequence, sequence_times

PRIMARY_ATTRIBUTE, SECONDARY_ATTRIBUTE = "DSARecon.PrimaryAngleDeg", "DSARecon.SecondaryAngleDeg"
TIME_ATTRIBUTE = "DSARecon.TimeS"
_LISTS = {"primary_angle_deg": "DSARecon.PrimaryAnglesDeg", "secondary_angle_deg": "DSARecon.SecondaryAnglesDeg"}
_INVERTED_GREY = "vtkMRMLColorTableNodeInvertedGrey"
_DISPLAYED_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class RunNodes:
    """The nodes of one acquired run.

    Parameters
    ----------
    browser, sequence, proxy
        vtkMRMLSequenceBrowserNode, vtkMRMLSequenceNode (index ``time`` in ``s``) of
        single-slice vtkMRMLScalarVolumeNode, and the volume that shows the selected frame.
    times_s
        (F,), s.
    primary_angle_deg, secondary_angle_deg
        (F,), degrees, LAO and CRA positive.
    """

    browser: Any
    sequence: Any
    proxy: Any
    times_s: NDArray[np.float64]
    primary_angle_deg: NDArray[np.float64]
    secondary_angle_deg: NDArray[np.float64]


def load_run(context: SceneContext, run: RotationalRun | Angiogram, *, name: str = "") -> RunNodes:
    """Show an acquired run in the scene, upright in an axial view, with real-time playback.

    A ``RotationalRun`` is shown as detected (intensity, 16 bit), an ``Angiogram`` as contrast
    line integrals in the DSA look: vessels dark. Pixel size is that of the detector, mm.
    Every frame of the sequence has the attributes ``DSARecon.PrimaryAngleDeg``,
    ``DSARecon.SecondaryAngleDeg`` and ``DSARecon.TimeS``, which the displayed volume gets
    too; the sequence has the lists of all angles, and ``DICOM.instanceUIDs``.
    """
    subtracted = isinstance(run, Angiogram)
    images = run.line_integrals if isinstance(run, Angiogram) else run.intensity
    title = name or _default_name(run)
    quantity, unit = ("Contrast line integral", "1") if subtracted else ("X-ray intensity", "1")
    uids = " ".join(run.source_uids) if isinstance(run, Angiogram) else run.sop_instance_uid
    stored = volumes.FixedPoint.for_range(float(images.min(initial=0)), float(images.max(initial=0)))
    angles = {name: getattr(run.geometry, name) for name in _LISTS}
    with context.batch():
        frames = _frames(run, images, stored, title)
        for frame in frames:
            stored.describe(frame, quantity, unit)
            frame.SetAttribute(UIDS_ATTRIBUTE, uids)
        sequence, browser, proxy = add_sequence(context, title, frames, run.times_s)
        for node in (sequence, proxy):
            stored.describe(node, quantity, unit)
        sequence.SetAttribute(UIDS_ATTRIBUTE, uids)
        for field, attribute in _LISTS.items():
            sequence.SetAttribute(attribute, json.dumps([float(angle) for angle in angles[field]]))
        low, high = np.percentile(images, _DISPLAYED_PERCENTILES) / stored.scale
        color = _INVERTED_GREY if subtracted else None
        volumes.show_range(proxy, 0.0 if subtracted else low, max(high, low + 1), color_node_id=color)
    return RunNodes(browser, sequence, proxy, run.times_s, **angles)


def run_of_sequence(context: SceneContext, sequence: Any) -> RunNodes | None:
    """The run behind a sequence node, also after reading a saved scene; ``None`` if it is none of ours."""
    lists = {field: sequence.GetAttribute(attribute) for field, attribute in _LISTS.items()}
    browser = context.sequences_logic.GetFirstBrowserNodeForSequenceNode(sequence)
    if browser is None or not all(lists.values()):
        return None
    angles = {field: np.array(json.loads(text), float) for field, text in lists.items()}
    return RunNodes(browser, sequence, browser.GetProxyNode(sequence), sequence_times(sequence), **angles)


def frame_at_angle(nodes: RunNodes, primary_angle_deg: float, secondary_angle_deg: float = 0.0) -> int:
    """Number of the frame whose beam direction is nearest to the given angles."""

    def direction(primary: NDArray[np.float64], secondary: NDArray[np.float64]) -> NDArray[np.float64]:
        primary, secondary = np.radians(primary), np.radians(secondary)
        return np.stack(
            [np.sin(primary) * np.cos(secondary), np.cos(primary) * np.cos(secondary), np.sin(secondary)], -1
        )

    wanted = direction(np.array(primary_angle_deg), np.array(secondary_angle_deg))
    return int((direction(nodes.primary_angle_deg, nodes.secondary_angle_deg) @ wanted).argmax())


def _default_name(run: RotationalRun | Angiogram) -> str:
    if isinstance(run, Angiogram):
        return "Angiogram"
    role = run.attributes.get("role", "")
    return f"{role.capitalize()} run" if role in ("mask", "fill") else "Rotational run"


def _frames(
    run: RotationalRun | Angiogram, images: NDArray[np.float32], stored: volumes.FixedPoint, name: str
) -> list[Any]:
    """One volume node per frame, with its angles and time."""
    import slicer

    geometry = run.geometry
    matrix = vtk_matrix(_upright(geometry.detector_shape, geometry.detector_spacing_mm))
    facts = zip(geometry.primary_angle_deg, geometry.secondary_angle_deg, run.times_s, strict=True)
    frames = []
    for image, (primary, secondary, time) in zip(images, facts, strict=True):
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName(name)
        frame.SetIJKToRASMatrix(matrix)
        frame.SetAndObserveImageData(volumes.image_data(stored.store(image)[None]))
        frame.SetAttribute(PRIMARY_ATTRIBUTE, repr(float(primary)))
        frame.SetAttribute(SECONDARY_ATTRIBUTE, repr(float(secondary)))
        frame.SetAttribute(TIME_ATTRIBUTE, repr(float(time)))
        frames.append(frame)
    return frames


def _upright(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """IJK to RAS (4, 4) that shows row 0 at the top and column 0 on the left of an axial view, centered."""
    (rows, columns), (row_mm, column_mm) = shape, spacing_mm
    matrix = np.diag([-column_mm, -row_mm, 1.0, 1.0])
    matrix[:2, 3] = column_mm * (columns - 1) / 2, row_mm * (rows - 1) / 2
    return matrix
