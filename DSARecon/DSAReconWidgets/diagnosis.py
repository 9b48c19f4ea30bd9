"""One page of facts for a bug report: Slicer, Python, packages, devices, kernels. No patient data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from DSAReconWidgets.process import ChildProcess, Ending, childPython

_LIMIT_MS = 120_000  # kernels are compiled on first use
_LOG_LINES = 30


class Diagnosis:
    """Asks ``dsarecon info --test`` in a child process, as a reconstruction would run.

    Parameters
    ----------
    python
        Interpreter; default that of the child processes.
    """

    def __init__(self, python: str | None = None) -> None:
        self._python = python or childPython()
        self._child: ChildProcess | None = None
        self._waiting: list[Callable[[str], None]] = []
        self._lines: list[str] = []

    def run(self, whenDone: Callable[[str], None]) -> None:
        """Make the page and hand it over; asked twice, one page goes to both."""
        self._waiting.append(whenDone)
        if self._child is not None:
            return
        self._lines = []
        self._child = ChildProcess()
        self._child.line.connect(self._lines.append)
        self._child.ended.connect(self._onEnded)
        self._child.start(self._python, ["-u", "-m", "DSAReconLib", "info", "--json", "--test"])
        self._child.stop(_LIMIT_MS, _LIMIT_MS)

    def close(self) -> None:
        """Stop and report nothing."""
        self._waiting.clear()
        if self._child is not None:
            self._child.close()
            self._child = None

    def _onEnded(self, ending: Ending) -> None:
        self._child = None
        waiting, self._waiting = self._waiting, []
        page = diagnosisText(slicerFacts(), self._python, "\n".join(self._lines), ending)
        for whenDone in waiting:
            whenDone(page)


def slicerFacts() -> dict[str, str]:
    """What the application says about itself."""
    app = getattr(slicer, "app", None)
    facts = {}
    for title, name in (
        (_("Version"), "applicationVersion"),
        (_("Revision"), "revision"),
        (_("Platform"), "platform"),
        (_("Folder"), "slicerHome"),
    ):
        value = getattr(app, name, None)
        if value and not callable(value):
            facts[title] = str(value)
    return facts


def diagnosisText(facts: Mapping[str, str], python: str, output: str, ending: Ending) -> str:
    """The page.

    Parameters
    ----------
    facts
        About the application.
    python
        Interpreter of the child.
    output
        What the child printed: JSON of ``dsarecon info``, with warnings around it at worst.
    ending
        How it ended.
    """
    blocks = [_block(_("Slicer"), facts)]
    report = _report(output)
    child = {_("Interpreter"): python, _("Works"): _("yes") if report is not None and ending.isGood else _("no")}
    if not ending.isGood:
        child[_("Reason")] = ending.notStarted or _("exit code {code}").format(code=ending.code)
    blocks.append(_block(_("Reconstruction process"), child))
    if report is None:
        lines = output.strip().splitlines()[-_LOG_LINES:]
        blocks.append("\n".join([_("What it said"), *(f"  {line}" for line in lines)]))
    else:
        blocks += [_block(title, entries) for title, entries in report.items() if isinstance(entries, dict)]
    return "\n\n".join(["DSARecon", *blocks]) + "\n"


def _report(output: str) -> dict[str, Any] | None:
    start, end = output.find("{"), output.rfind("}")
    try:
        content = json.loads(output[start : end + 1])
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _block(title: str, entries: Mapping[str, Any]) -> str:
    lines = [
        f"  {name:<22} {_('not installed') if value is None else _oneLine(value)}" for name, value in entries.items()
    ]
    return "\n".join([title[:1].upper() + title[1:], *lines])


def _oneLine(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {entry}" for name, entry in value.items())
    return " ".join(str(value).split())
