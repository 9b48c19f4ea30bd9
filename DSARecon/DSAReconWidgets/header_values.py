"""DICOM attributes that a run lacks and the user knows, as one line of text."""

from __future__ import annotations

import re

from DSAReconLib.errors import ConfigError
from DSAReconWidgets.translation import tr as _

LACKING = ("geometry.distances", "geometry.spacing", "dicom.times_missing")
"""Refusals of runs that given values can heal."""


def parseHeader(text: str) -> dict[str, str]:
    """``KEYWORD=VALUE`` pairs, separated by blanks or semicolons; ConfigError for anything else."""
    values = {}
    for part in re.split(r"[\s;]+", text.strip()):
        keyword, equals, value = part.partition("=")
        if part and not (keyword.isidentifier() and equals and value):
            message = _("“{part}” is not understood as a missing header value.").format(part=part)
            raise ConfigError(message, hint=_("Write for example DistanceSourceToPatient=785."))
        if part:
            values[keyword] = value
    return values


def headerText(values: dict[str, str]) -> str:
    """Inverse of :func:`parseHeader`."""
    return " ".join(f"{keyword}={value}" for keyword, value in values.items())
