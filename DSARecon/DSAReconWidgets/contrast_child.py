"""``python -m DSAReconWidgets.contrast_child FILL MASK HEADER``: total contrast of every fill frame, as one event."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(fill: str, mask: str, header: str) -> None:
    """Read both runs (an empty ``mask`` is looked for beside ``fill``; ``header`` is JSON), subtract, add up."""
    from DSAReconLib.errors import DSAReconError
    from DSAReconLib.io.event_lines import encode_event
    from DSAReconLib.jobs.loading import load_angiogram

    paths = () if mask else (str(Path(fill).parent),)
    try:
        angiogram = load_angiogram(paths, fill=fill, mask=mask or None, header=json.loads(header), registration="none")
    except DSAReconError as error:
        event = {"event": "failed", "code": error.code, "message": error.message, "hint": error.hint}
    else:
        total = angiogram.line_integrals.reshape(len(angiogram), -1).sum(axis=1, dtype=float)
        event = {"event": "contrast", "total": total.tolist()}
    sys.stdout.write(encode_event(event))


if __name__ == "__main__":
    main(*sys.argv[1:])
