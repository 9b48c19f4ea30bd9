"""Children that behave badly: ``python -m helpers.odd_workers JOB.json`` does what the job's ``out`` ends in."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from DSAReconLib.jobs.protocol import encode_event


def main() -> None:
    """Act as told."""
    out = json.loads(Path(sys.argv[1]).read_text())["out"]
    {
        "stubborn": _stubborn,
        "silent": _silent,
        "module": _lacks_module,
        "split": _split_lines,
        "lingering": _lingering,
        "broken": _broken_events,
    }[out.rpartition(".")[2]](out)


def _say(event: str, **content: object) -> None:
    sys.stdout.write(encode_event({"event": event, **content}))
    sys.stdout.flush()


def _started() -> None:
    _say("started", protocol=1, version="0", pid=os.getpid(), device="cpu")


def _stubborn(out: str) -> None:
    """Hears neither stdin nor SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _started()
    time.sleep(60)


def _silent(out: str) -> None:
    """Ends well, without a result."""
    print("nothing to say")


def _lacks_module(out: str) -> None:
    import a_package_that_is_not_there  # noqa: F401


def _split_lines(out: str) -> None:
    """Lines and letters that come in pieces."""
    _started()
    line = encode_event({"event": "progress", "stage": "fit", "fraction": 0.5, "message": "half"}).encode()
    for piece in (line[:9], line[9:], "Gefäß".encode()[:4], "Gefäß".encode()[4:] + b"\r\n", b"last line"):
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        time.sleep(0.1)
    print()
    _say("finished", result=out)


def _lingering(out: str) -> None:
    """Has finished, but does not leave."""
    _started()
    _say("finished", result=out)
    time.sleep(60)


def _broken_events(out: str) -> None:
    """Events that a later version or a defect could send."""
    _started()
    for line in ('{"event":', "[]", '{"event": "later", "x": 1}', '{"event": "progress", "fraction": "much"}'):
        print("@dsarecon " + line)
    _say("failed", code="x.y", message="It failed.", hint="Try again.")
    _say("finished", result=out)


if __name__ == "__main__":
    main()
