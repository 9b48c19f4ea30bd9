"""Which mask run belongs to which fill run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.acquisition.summary import RunSummary, summarize_run
from DSAReconLib.errors import PairingError

_SAME_LENGTH = 0.01
_SAME_ARC_DEG = 15.0
_LEAST_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class RunPair:
    """Mask and fill run that belong together.

    Parameters
    ----------
    mask, fill
        The runs.
    certain
        Whether the header told which is which; otherwise the pixels must
        (:func:`order_by_contrast`).
    warnings
        (code, message) pairs.
    """

    mask: RunSummary
    fill: RunSummary
    certain: bool
    warnings: tuple[tuple[str, str], ...] = ()


def pair_runs(runs: Sequence[RunSummary | RotationalRun]) -> list[RunPair]:
    """All mask and fill pairs among runs, in the order of their acquisition.

    Runs pair if study, patient, plane, detector, distances and arc agree. Roles follow
    from the header; if it tells nothing, the earlier run is taken as the mask, and
    :attr:`RunPair.certain` is false.

    Raises
    ------
    PairingError
        ``acquisition.missing_run``, ``acquisition.patients``, ``acquisition.studies``,
        ``acquisition.detector``, ``acquisition.arc`` or ``acquisition.ambiguous``.
    """
    summaries = [run if isinstance(run, RunSummary) else summarize_run(run) for run in runs]
    summaries = sorted((run for run in summaries if run.is_run), key=lambda run: (run.order, run.part))
    if len(summaries) < 2:
        raise _missing(summaries)
    masks = [run for run in summaries if run.role == "mask"]
    fills = [run for run in summaries if run.role == "fill"]
    unknown = [run for run in summaries if run.role == "unknown"]
    if masks and fills:
        pairs = _pairs_by_role(masks, fills)
    elif len(summaries) == 2:
        pairs = [_undecided_pair(*summaries)]
    elif unknown and (masks or fills):
        pairs = _pairs_by_role(masks or unknown, fills or unknown)
    else:
        pairs = _pairs_by_match(summaries)
    if not pairs:
        raise _missing(summaries)
    return pairs


def choose_pair(pairs: Sequence[RunPair]) -> RunPair:
    """The only pair.

    Raises
    ------
    PairingError
        ``acquisition.ambiguous`` if there are several.
    """
    if len(pairs) == 1:
        return pairs[0]
    listed = "; ".join(f"{pair.mask.label} + {pair.fill.label}" for pair in pairs)
    raise PairingError(
        f"{len(pairs)} pairs of mask and fill run are possible: {listed}.",
        code="acquisition.ambiguous",
        hint="Choose one with --mask FILE --fill FILE.",
    )


def order_by_contrast(first: RotationalRun, second: RotationalRun) -> tuple[RotationalRun, RotationalRun]:
    """(mask, fill): contrast absorbs, so the fill run is the one with less intensity in its darker pixels.

    Compared frame by frame at equal angles after taking off the exposure difference.

    Raises
    ------
    PairingError
        ``acquisition.no_contrast`` if the runs do not differ.
    """
    from DSAReconLib.acquisition.trajectory import match_poses

    match = match_poses(first.geometry, second.geometry)
    frames = np.linspace(0, len(second) - 1, min(24, len(second))).astype(int)
    tails = []
    for frame in frames:
        nearest = match.upper[frame] if match.weight[frame] > 0.5 else match.lower[frame]
        images = first.intensity[nearest][::2, ::2], second.intensity[frame][::2, ::2]
        usable = (images[0] > 0) & (images[1] > 0)
        if usable.sum() < 100:
            continue
        difference = np.log(images[0][usable]) - np.log(images[1][usable])
        low, middle, high = np.quantile(difference, [0.005, 0.5, 0.995])
        tails.append((high - middle) - (middle - low))
    skew = float(np.mean(tails)) if tails else 0.0
    if abs(skew) < _LEAST_DIFFERENCE:
        raise PairingError(
            f"{_name(first)} and {_name(second)} show no difference in contrast.",
            code="acquisition.no_contrast",
            hint="Say which is which with --mask FILE --fill FILE, and check that one of them was taken with contrast.",
        )
    return (first, second) if skew > 0 else (second, first)


def check_pair(mask: RunSummary | RotationalRun, fill: RunSummary | RotationalRun) -> tuple[tuple[str, str], ...]:
    """Warnings about a pair.

    Raises
    ------
    PairingError
        ``acquisition.patients``, ``acquisition.studies``, ``acquisition.detector`` or ``acquisition.arc``.
    """
    first, second = (run if isinstance(run, RunSummary) else summarize_run(run) for run in (mask, fill))
    for test in (_identity_problem, _detector_problem, _arc_problem):
        problem = test(first, second)
        if problem is not None:
            raise problem
    if max(first.sdd_mm, second.sdd_mm) - min(first.sdd_mm, second.sdd_mm) > 0.5:
        message = f"Source-detector distances differ slightly: {first.sdd_mm:g} and {second.sdd_mm:g} mm."
        return (("acquisition.distance", message),)
    return ()


def _name(run: RotationalRun) -> str:
    return run.path.name if run.path else "a run"


def _missing(runs: Sequence[RunSummary]) -> PairingError:
    found = f"only {runs[0].label} ({runs[0].role})" if runs else "none"
    return PairingError(
        f"A mask run and a fill run are needed; found {found}.",
        code="acquisition.missing_run",
        hint="Give the folder or the files of both runs (see dsarecon inspect).",
    )


def _identity_problem(first: RunSummary, second: RunSummary) -> PairingError | None:
    hint = "Choose mask and fill run of one examination, with --mask FILE --fill FILE."
    if first.patient_key and second.patient_key and first.patient_key != second.patient_key:
        return PairingError(
            f"{first.label} and {second.label} belong to different patients.", code="acquisition.patients", hint=hint
        )
    if first.study_key and second.study_key and first.study_key != second.study_key:
        return PairingError(
            f"{first.label} and {second.label} belong to different studies.", code="acquisition.studies", hint=hint
        )
    return None


def _detector_problem(first: RunSummary, second: RunSummary) -> PairingError | None:
    hint = "Mask and fill must come from the same rotation protocol and detector format."
    if (first.rows, first.columns) != (second.rows, second.columns):
        return PairingError(
            f"The frames differ in size: {first.label} {first.rows} x {first.columns}, "
            f"{second.label} {second.rows} x {second.columns}.",
            code="acquisition.detector",
            hint=hint,
        )
    for name, one, other in (
        ("pixel spacing", first.detector_spacing_mm[0], second.detector_spacing_mm[0]),
        ("source-isocenter distance", first.sod_mm, second.sod_mm),
        ("source-detector distance", first.sdd_mm, second.sdd_mm),
    ):
        if abs(one - other) > _SAME_LENGTH * max(one, other):
            return PairingError(
                f"The {name} differs: {first.label} {one:g} mm, {second.label} {other:g} mm.",
                code="acquisition.detector",
                hint=hint,
            )
    return None


def _arc_problem(first: RunSummary, second: RunSummary) -> PairingError | None:
    ranges = [sorted(run.primary_deg) for run in (first, second)]
    tilt = abs(np.mean(first.secondary_deg) - np.mean(second.secondary_deg))
    overlap = min(r[1] for r in ranges) - max(r[0] for r in ranges)
    needed = max(0.5 * min(r[1] - r[0] for r in ranges), 0.0)
    if overlap >= needed and tilt <= _SAME_ARC_DEG:
        return None
    shown = " and ".join(
        f"{run.label} {run.primary_deg[0]:.0f} to {run.primary_deg[1]:.0f} (secondary {run.secondary_deg[0]:.0f})"
        for run in (first, second)
    )
    return PairingError(
        f"The runs sweep different arcs: {shown} degrees.",
        code="acquisition.arc",
        hint="Choose mask and fill run of the same rotation protocol.",
    )


def _matches(first: RunSummary, second: RunSummary) -> bool:
    return first.plane == second.plane and not any(
        test(first, second) for test in (_identity_problem, _detector_problem, _arc_problem)
    )


def _pairs_by_role(masks: Sequence[RunSummary], fills: Sequence[RunSummary]) -> list[RunPair]:
    """Each fill run with the mask that was taken last before it, else with any that matches."""
    pairs = []
    for fill in fills:
        matching = [mask for mask in masks if mask is not fill and _matches(mask, fill)]
        if matching:
            earlier = [mask for mask in matching if (mask.order, mask.part) <= (fill.order, fill.part)]
            certain = fill.role == "fill" or any(mask.role == "mask" for mask in matching)
            pairs.append(RunPair(earlier[-1] if earlier else matching[0], fill, certain))
    if not pairs and len(masks) == 1 and len(fills) == 1:
        check_pair(masks[0], fills[0])  # says what does not fit
    return pairs


def _undecided_pair(first: RunSummary, second: RunSummary) -> RunPair:
    """Two runs that may be a pair; the header of one of them may tell the role of the other."""
    warnings = check_pair(first, second)
    roles = (first.role, second.role)
    if "mask" in roles and roles[0] != roles[1]:
        mask, fill = (first, second) if roles[0] == "mask" else (second, first)
        return RunPair(mask, fill, True, warnings)
    if "fill" in roles and roles[0] != roles[1]:
        mask, fill = (first, second) if roles[1] == "fill" else (second, first)
        return RunPair(mask, fill, True, warnings)
    return RunPair(first, second, False, warnings)


def _pairs_by_match(runs: Sequence[RunSummary]) -> list[RunPair]:
    """Pairs among runs of unknown role: neighbors in time, each run once; one group of three is ambiguous."""
    pairs: list[RunPair] = []
    free: Callable[[RunSummary], bool] = lambda run: all(run not in (pair.mask, pair.fill) for pair in pairs)  # noqa: E731
    possible = [pair for pair in combinations(runs, 2) if _matches(*pair)]
    for first, second in possible:
        if free(first) and free(second):
            pairs.append(_undecided_pair(first, second))
    left = [run for run in runs if free(run) and any(run in pair for pair in possible)]
    if left:
        listed = ", ".join(run.label for run in runs)
        raise PairingError(
            f"{len(runs)} runs fit together, and nothing tells which are mask and fill: {listed}.",
            code="acquisition.ambiguous",
            hint="Choose two with --mask FILE --fill FILE.",
        )
    return pairs
