"""Which DICOM objects hold rotational X-ray runs, and which of them belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DSAReconLib.acquisition.summary import RunSummary

CLASSIC_XA = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"
TAGS = {
    "sopClassUID": "0008,0016",
    "seriesDescription": "0008,103E",
    "seriesNumber": "0020,0011",
    "numberOfFrames": "0028,0008",
    "primaryAngleIncrement": "0018,1520",
    "secondaryAngleIncrement": "0018,1521",
}
# Findings behind which reading refuses the pixels, so that another plugin should show them.
_UNREADABLE = {"dicom.log_without_lut", "dicom.lut"}
# A run that lacks one of these can still be looked at: common values of C-arms, never used to reconstruct.
_ASSUMED: Mapping[str, Mapping[str, Any]] = {
    "geometry.distances": {"DistanceSourceToPatient": 750.0, "DistanceSourceToDetector": 1200.0},
    "geometry.spacing": {"ImagerPixelSpacing": [0.3, 0.3]},
    "dicom.times_missing": {"FrameTime": 1000 / 30},
}

FileValue = Callable[[str, str], str]
"""``slicer.dicomDatabase.fileValue``: value of a tag of a file as text, several separated by a backslash."""


@dataclass(frozen=True)
class RunObject:
    """A DICOM object with one rotational run, or with mask and fill run.

    Parameters
    ----------
    path
        File.
    runs
        What its header says.
    assumed
        Attributes by keyword that are missing and were assumed, only to look at the run.
    missing
        What the header lacks for a reconstruction, a sentence each.
    """

    path: str
    runs: tuple[RunSummary, ...]
    assumed: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """(code, message) of every finding, each once."""
        return tuple(dict.fromkeys(warning for run in self.runs for warning in run.warnings))

    @property
    def isReadable(self) -> bool:
        """Whether its pixels can be decoded and mean an intensity."""
        return self.runs[0].decodable and not any(code in _UNREADABLE for code, _ in self.warnings)

    @property
    def roles(self) -> tuple[str, ...]:
        """``mask``, ``fill`` or ``unknown`` of every run."""
        return tuple(run.role for run in self.runs)


@dataclass(frozen=True)
class Partners:
    """The other runs that an object needs or serves.

    Parameters
    ----------
    masks, fills
        Mask runs of its fill run, and fill runs of its mask run, in other objects.
    certain
        Whether the headers told mask from fill; otherwise the earlier run is taken as the mask.
    problem
        Why it has no partner; empty if it has one.
    """

    masks: tuple[RunSummary, ...] = ()
    fills: tuple[RunSummary, ...] = ()
    certain: bool = True
    problem: str = ""

    @property
    def all(self) -> tuple[RunSummary, ...]:
        """All of them."""
        return self.masks + self.fills


@dataclass
class RunFinder:
    """Finds rotational runs by their headers; each header is read once as long as its file does not change.

    Parameters
    ----------
    fileValue
        Gives single values without opening the file.
    """

    fileValue: FileValue
    _known: dict[tuple[str, int, int], RunObject | None] = field(default_factory=dict)

    def find(self, files: Iterable[str]) -> list[RunObject]:
        """Objects with rotational runs among files, in the order of their acquisition."""
        found = [self._examine(path) for path in dict.fromkeys(files) if self._mayRotate(path)]
        return sorted((run for run in found if run is not None), key=lambda run: (run.runs[0].order, run.path))

    def mayBeAngiography(self, path: str) -> bool:
        """Whether the file is classic or enhanced XA, or nothing is known about it."""
        sopClass = self._value(path, "sopClassUID")
        return sopClass is None or sopClass in (CLASSIC_XA, ENHANCED_XA)

    def _mayRotate(self, path: str) -> bool:
        """Quick check by single values; a file that nothing is known about has its header read."""
        if not self.mayBeAngiography(path):
            return False
        sopClass, frames = self._value(path, "sopClassUID"), self._value(path, "numberOfFrames")
        if sopClass is None or frames is None:
            return True
        if not frames.strip().isdigit() or int(frames) < 2:
            return False
        if sopClass == ENHANCED_XA:  # its angles lie in the functional groups
            return True
        increments = (self._value(path, f"{axis}AngleIncrement") or "" for axis in ("primary", "secondary"))
        return any(_turns(text) for text in increments)

    def _value(self, path: str, name: str) -> str | None:
        """Value of a tag; ``None`` if the database cannot tell (closed, or the file is not readable)."""
        try:
            return str(self.fileValue(path, TAGS[name]))
        except (AttributeError, RuntimeError, TypeError, ValueError):
            return None

    def _examine(self, path: str) -> RunObject | None:
        try:
            state = Path(path).stat()
        except OSError:
            return None
        key = (path, state.st_mtime_ns, state.st_size)
        if key not in self._known:
            self._known[key] = _read(path)
        return self._known[key]


def _read(path: str) -> RunObject | None:
    """The object in a file; one whose geometry or times are missing is read with assumed ones."""
    from DSAReconLib.dicom.find import summarize_file

    assumed: dict[str, Any] = {}
    missing: list[str] = []
    while True:
        runs = tuple(summarize_file(path, assumed))
        if runs[0].is_run:
            return RunObject(path, runs, assumed, tuple(missing))
        values = _ASSUMED.get(runs[0].refusal_code)
        if values is None or values.keys() <= assumed.keys():
            return None
        assumed.update(values)
        missing.append(runs[0].refusal)


def partnersOf(objects: Sequence[RunObject]) -> dict[str, Partners]:
    """Partners of every object, by its path; runs pair within their study only."""
    from DSAReconLib.acquisition.pairing import RunPair, pair_runs
    from DSAReconLib.errors import PairingError

    studies: dict[str, list[RunObject]] = {}
    for run in objects:
        studies.setdefault(run.runs[0].study_key, []).append(run)
    partners = {}
    for members in studies.values():
        pairs: list[RunPair] = []
        problem = ""
        try:
            pairs = pair_runs([summary for member in members for summary in member.runs])
        except PairingError as error:
            problem = error.message
        for member in members:
            partners[member.path] = _partnersIn(pairs, member, problem)
    return partners


def _partnersIn(pairs: Sequence, member: RunObject, problem: str) -> Partners:
    own = [pair for pair in pairs if member.path in (str(pair.mask.path), str(pair.fill.path))]
    masks = tuple(pair.mask for pair in own if str(pair.mask.path) != member.path)
    fills = tuple(pair.fill for pair in own if str(pair.fill.path) != member.path)
    paired = bool(own) or len(member.runs) > 1
    return Partners(masks, fills, all(pair.certain for pair in own), "" if paired else problem)


def _turns(increments: str) -> bool:
    """Whether angle increments (one mean step, or a list) move the C-arm."""
    try:
        numbers = [float(part) for part in increments.split("\\") if part.strip()]
    except ValueError:
        return True  # the header is read tolerantly
    return len(set(numbers)) > 1 or (len(numbers) == 1 and numbers[0] != 0)
