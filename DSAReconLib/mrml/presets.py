"""Transfer functions for vessels, built from the data's own threshold and peak."""

from __future__ import annotations

PRESETS = ("DSA vessels", "Angiography red", "Glass", "X-ray MIP")
"""Names as the user sees them; the first is the default."""
