"""The loop that every iterative method runs in: progress, previews, cancelling, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import JobCancelled

if TYPE_CHECKING:
    from DSAReconLib.checkpoint import CheckpointStore
    from DSAReconLib.progress import Progress

REPORT_INTERVAL_S = 0.3
PREVIEW_INTERVAL_S = 10.0

Step = Callable[[int], Mapping[str, float]]


class FittingLoop:
    """Runs iterations and talks to whoever started them.

    Parameters
    ----------
    progress
        Told at least once per second how far the fit is; asked for cancelling.
    stage
        Name of the stage in the reports.
    checkpoint
        Where states are kept, if they shall be.
    preview
        Gives a volume (z, y, x), 1/mm, to show about every 10 s.
    """

    def __init__(
        self,
        progress: Progress,
        stage: str,
        *,
        checkpoint: CheckpointStore | None = None,
        preview: Callable[[], NDArray[np.float32]] | None = None,
    ) -> None:
        self._progress, self._stage, self._checkpoint, self._preview = progress, stage, checkpoint, preview
        self._reported = self._previewed = time.monotonic()

    def run(
        self,
        step: Step,
        iterations: int,
        *,
        start: int = 0,
        state: Callable[[int], dict[str, Any]] | None = None,
        span: tuple[float, float] = (0.0, 1.0),
        message: str = "",
    ) -> None:
        """Call ``step(i)`` for i = start ... iterations - 1; it returns the metrics to report.

        A step must change the fitted parameters only at its end, so that a cancelled one
        has done nothing. ``state(n)`` gives what :meth:`CheckpointStore.save` shall keep
        after n finished iterations. ``span`` is the part of the stage that this run makes up.

        Raises
        ------
        JobCancelled
            After a last checkpoint has been written.
        """
        for iteration in range(start, iterations):
            try:
                self._progress.check_cancelled()
                metrics = step(iteration)
            except JobCancelled:
                if self._checkpoint is not None and state is not None:
                    self._checkpoint.save(**state(iteration))
                raise
            done = iteration + 1
            self._tell(span[0] + (span[1] - span[0]) * done / iterations, message, metrics, last=done == iterations)
            if self._checkpoint is not None and state is not None and self._checkpoint.due():
                self._checkpoint.save(**state(done))

    def _tell(self, fraction: float, message: str, metrics: Mapping[str, float], *, last: bool) -> None:
        now = time.monotonic()
        if last or now - self._reported >= REPORT_INTERVAL_S:
            self._progress.report(self._stage, fraction, message, metrics)
            self._reported = now
        if self._preview is not None and now - self._previewed >= PREVIEW_INTERVAL_S:
            self._progress.preview(self._preview())
            self._previewed = time.monotonic()
