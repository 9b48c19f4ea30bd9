"""JSON of our files and messages: plain values in, clear errors out. Standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from DSAReconLib.errors import ResultError


def plain(value: Any) -> Any:
    """``value`` as what JSON knows: numpy types as Python's, paths as text, NaN and infinity as ``None``."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, one entry per line at the top."""
    path.write_text(json.dumps(plain(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; ResultError if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} is missing or damaged ({error}).") from error
    if not isinstance(content, dict):
        raise ResultError(f"{path} is damaged: it does not hold a JSON object.")
    return content
