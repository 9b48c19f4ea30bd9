"""Elements, items and values of data sets."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from DSAReconLib.dicom.attributes import quiet

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def item(**attributes: Any) -> Dataset:
    """Item of a sequence, attributes by keyword."""
    from pydicom.dataset import Dataset

    result = Dataset()
    for keyword, value in attributes.items():
        setattr(result, keyword, value)
    return result


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Code sequence item (PS3.3 table 8.8-1)."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def decimal(value: float) -> str:
    """A DS value: at most 16 characters."""
    for digits in range(14, 2, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return "0" if float(text) == 0 else text
    raise ValueError(f"{value!r} does not fit into a DICOM decimal string")


def date_text(moment: dt.datetime) -> str:
    """DA value."""
    return f"{moment:%Y%m%d}"


def time_text(moment: dt.datetime) -> str:
    """TM value to the microsecond."""
    return f"{moment:%H%M%S.%f}"


def moment_text(moment: dt.datetime) -> str:
    """DT value to the microsecond."""
    return date_text(moment) + time_text(moment)


def text_of(header: Dataset, keyword: str) -> str:
    """Value as text; "" if missing."""
    with quiet():
        return str(header.get(keyword) or "")


def copy_elements(source: Dataset, target: Dataset, keywords: Sequence[str], *, empty: bool = False) -> None:
    """Copy elements; ``empty`` ones are made where the source has none."""
    with quiet(), no_value_checks():
        for keyword in keywords:
            if keyword in source:
                target.add(copy.deepcopy(source[keyword]))
            elif empty:
                setattr(target, keyword, None)


@contextmanager
def no_value_checks() -> Iterator[None]:
    """What the source says is repeated as it is, also where it is not to the letter of the standard."""
    from pydicom import config

    former = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.writing_validation_mode = former
