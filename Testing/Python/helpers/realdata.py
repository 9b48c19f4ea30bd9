"""Where the folder of real data lies, for the tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_CHECKOUT = Path(__file__).resolve().parents[4] / "shared" / "data"


def real_data(*parts: str) -> Path:
    """Path in the real-data folder (``DSARECON_REAL_DATA`` or beside the checkout); skips the test if absent."""
    path = Path(os.environ.get("DSARECON_REAL_DATA", _BESIDE_CHECKOUT)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data file not available: {Path(*parts)}")
    return path
