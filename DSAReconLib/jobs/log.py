"""The log of a job: kept while it runs, stored with its result, or shown when it crashed."""

from __future__ import annotations

import io
import logging
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType

from DSAReconLib.errors import DependencyError, DSAReconError

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_ROOT = "DSAReconLib"


class JobLog:
    """Collects everything that the library logs, from DEBUG on, while the ``with`` block runs."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self._handler = logging.StreamHandler(self._text)
        self._handler.setFormatter(logging.Formatter(_FORMAT))

    def __enter__(self) -> JobLog:
        root = logging.getLogger(_ROOT)
        self._former_level = root.level
        root.setLevel(logging.DEBUG)
        root.addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        root = logging.getLogger(_ROOT)
        root.removeHandler(self._handler)
        root.setLevel(self._former_level)

    def text(self) -> str:
        """Everything so far."""
        return self._text.getvalue()


def missing_package(error: BaseException, what: str = "This command") -> DependencyError | None:
    """The advice to install the optional package whose import failed; ``None`` if ``error`` is something else.

    Parameters
    ----------
    error
        What was caught.
    what
        Who needs the package, at the start of a sentence.
    """
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package in ("", "DSAReconLib"):
        return None
    return DependencyError(
        f"{what} needs the package {package}, which is not installed.",
        hint=f"Install {package} into this environment (pip install {package}).",
    )


def internal_error(error: BaseException, log_text: str = "", place: Path | None = None) -> DSAReconError:
    """The error to show for a defect of ours; the traceback goes to a log file.

    Parameters
    ----------
    error
        What was caught.
    log_text
        What the job logged before.
    place
        Log file to write; a temporary file if that is impossible or not given.
    """
    text = log_text + "".join(traceback.format_exception(error))
    path = place or Path(tempfile.gettempdir()) / f"dsarecon-{time.strftime('%Y%m%d-%H%M%S')}.log"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        with tempfile.NamedTemporaryFile(
            "w", prefix="dsarecon-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
            path = Path(file.name)
    summary = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DSAReconError(
        f"Unexpected error, a defect of this program: {type(error).__name__}: {summary}",
        hint=f"The details are in {path}; please report them together with the output of 'dsarecon info'.",
        code="internal.error",
    )
