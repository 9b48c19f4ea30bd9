"""Reading DICOM attributes without noise: odd values are missing values, never tracebacks."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError, DicomRunError, GeometryError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


_NUMBERS = {"DS", "FL", "FD"}


class Findings:
    """Warnings collected while a run is read, each once, in the order they came."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], None] = {}

    def add(self, code: str, message: str) -> None:
        """Note that ``message`` holds; ``code`` is its stable name."""
        self._entries[code, message] = None

    def drop(self, code: str) -> None:
        """Forget everything noted under ``code``, because something better is known now."""
        self._entries = {entry: None for entry in self._entries if entry[0] != code}

    def as_tuple(self) -> tuple[tuple[str, str], ...]:
        """All (code, message) pairs."""
        return tuple(self._entries)


class Attributes:
    """Tolerant view of a pydicom data set.

    Every getter returns ``None`` (or an empty array) for what is absent, empty or
    unreadable, so that callers state their fall-back in one place.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def raw(self, name: str | tuple[int, int]) -> Any:
        """Value of a keyword or (group, element); ``None`` if absent, empty or unreadable."""
        with quiet():
            try:
                element = self.dataset.get(name)
                value = element.value if isinstance(name, tuple) and element is not None else element
            except Exception:  # pydicom raises many kinds of errors for damaged values
                return None
        return None if value is None or (isinstance(value, str) and not value.strip()) else value

    def text(self, name: str | tuple[int, int]) -> str:
        """Value as stripped text; several values joined by a backslash; "" if missing."""
        value = self.raw(name)
        if value is None:
            return ""
        if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
            return "\\".join(str(v).strip() for v in value)
        return str(value).strip()

    def numbers(self, name: str | tuple[int, int]) -> NDArray[np.float64]:
        """All values as finite numbers; empty if missing or if one of them is no number."""
        value = self.raw(name)
        if value is None or isinstance(value, bytes):
            return np.zeros(0)
        try:
            numbers = np.atleast_1d(np.asarray(value, float)).ravel()
        except (TypeError, ValueError):
            return np.zeros(0)
        return numbers if np.all(np.isfinite(numbers)) else np.zeros(0)

    def number(self, name: str | tuple[int, int]) -> float | None:
        """First value as a finite number."""
        numbers = self.numbers(name)
        return float(numbers[0]) if numbers.size else None

    def items(self, name: str) -> list[Attributes]:
        """Items of a sequence; empty if missing."""
        value = self.raw(name)
        if value is None or isinstance(value, (str, bytes, int, float)):
            return []
        return [Attributes(item) for item in value if hasattr(item, "get")]

    def item(self, name: str) -> Attributes | None:
        """First item of a sequence."""
        items = self.items(name)
        return items[0] if items else None

    def private(self, group: int, creator: str, element: int) -> Any:
        """Value of a private element, e.g. ``private(0x0025, "SIEMENS ...", 0x12)``."""
        with quiet():
            try:
                return self.dataset.private_block(group, creator)[element].value
            except Exception:  # absent block or element, or a damaged value: all mean "not there"
                return None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings and log lines about values that are not to the letter."""
    from pydicom import config

    logger = logging.getLogger("pydicom")
    level, mode = logger.level, config.settings.reading_validation_mode
    logger.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        config.settings.reading_validation_mode = mode


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Quiet reading of one file; errors name it, and damage that no check foresaw becomes a refusal."""
    try:
        with quiet():
            yield
    except (DicomRunError, GeometryError) as error:
        if path.name in error.message:
            raise
        raise type(error)(f"{path.name}: {error.message}", code=error.code, hint=error.hint) from None
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise DicomRunError(
            f"{path.name} holds attributes that make no sense ({type(error).__name__}: {str(error)[:120]}).",
            code="dicom.damaged",
            hint="Copy or export the file again.",
        ) from error


def read_header(path: Path, overrides: Mapping[str, Any] | None = None) -> tuple[Attributes, int]:
    """Header of a DICOM file and the byte position where its pixel data element starts.

    ``overrides`` replaces attributes by keyword, e.g. ``{"DistanceSourceToPatient": 750}``,
    for files that lack them.

    Raises
    ------
    DicomRunError
        ``dicom.not_found``, ``dicom.is_folder``, ``dicom.unreadable``, ``dicom.empty``,
        ``dicom.not_dicom`` or ``dicom.truncated``.
    ConfigError
        ``config.attribute``: an override with an unknown keyword, or text where a number belongs.
    """
    _check_regular_file(path)
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with quiet(), path.open("rb") as stream:
            dataset = pydicom.dcmread(stream, stop_before_pixels=True)
            position = stream.tell()
            _override(dataset, overrides or {})
    except ConfigError:
        raise
    except InvalidDicomError:
        raise DicomRunError(
            f"{path.name} is not a DICOM file (no DICM mark after 128 bytes).",
            code="dicom.not_dicom",
            hint="Give the XA objects as exported from the angiography system or the PACS.",
        ) from None
    except OSError as error:
        raise DicomRunError(
            f"{path.name} cannot be read: {error.strerror or error}.", code="dicom.unreadable"
        ) from None
    except Exception as error:  # a cut or damaged header makes pydicom raise nearly anything
        raise DicomRunError(
            f"The DICOM header of {path.name} is damaged or cut off ({type(error).__name__}).",
            code="dicom.truncated",
            hint="Copy or export the file again.",
        ) from None
    return Attributes(dataset), position


def _override(dataset: Dataset, overrides: Mapping[str, Any]) -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    for keyword, value in overrides.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise ConfigError(
                f"{keyword!r} is not the keyword of a DICOM attribute.",
                code="config.attribute",
                hint="Keywords look like DistanceSourceToPatient (DICOM PS3.6); see --header.",
            )
        try:
            if dictionary_VR(tag) in _NUMBERS:
                parts = value.split("\\") if isinstance(value, str) else value
                value = [float(part) for part in np.atleast_1d(np.asarray(parts, dtype=object))]
                value = value[0] if len(value) == 1 else value
            setattr(dataset, keyword, value)
        except (TypeError, ValueError):
            raise ConfigError(
                f"{keyword} cannot be {value!r}; expected numbers, several of them separated by a backslash.",
                code="config.attribute",
                hint="Check --header.",
            ) from None


def _check_regular_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise DicomRunError(
                f"{path} is a folder, not a DICOM file.", code="dicom.is_folder", hint="Name one file in it."
            )
        if not path.exists():
            raise DicomRunError(f"{path} does not exist.", code="dicom.not_found", hint="Check the path.")
        if not path.is_file():
            raise DicomRunError(f"{path} is not a regular file.", code="dicom.unreadable")
        if path.stat().st_size == 0:
            raise DicomRunError(
                f"{path.name} is empty (0 bytes).", code="dicom.empty", hint="Copy or export the file again."
            )
    except OSError as error:
        raise DicomRunError(f"{path} cannot be read: {error.strerror or error}.", code="dicom.unreadable") from None


def patient_key(header: Attributes) -> str:
    """One-way hash of patient ID and birth date, only good for telling patients apart; "" if both are absent."""
    identity = [header.text("PatientID"), header.text("PatientBirthDate")]
    if not any(identity):
        return ""
    return hashlib.sha256(("dsarecon\n" + "\n".join(identity)).encode()).hexdigest()[:16]
