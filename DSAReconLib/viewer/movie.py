"""Movies of the novel view, rendered by a render server of their own while the page stays usable."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from DSAReconLib.errors import JobCancelled
from DSAReconLib.jobs.render_client import RenderClient
from DSAReconLib.rendering.images import grey_levels
from DSAReconLib.rendering.movie import write_movie
from DSAReconLib.rendering.pose import ViewPose

SHAPE = (512, 512)
FRAMES_PER_S = 15.0
_FRAME_LIMIT_S = 60.0
_START_LIMIT_S = 120.0


@dataclass(frozen=True)
class MovieOrder:
    """What a movie shows.

    Parameters
    ----------
    result_folder
        Whose Gaussians.
    poses, times_s
        Pose and time of each picture, equally many.
    window
        Line integrals at both ends of the grey scale.
    inverted
        Light vessels on dark.
    suffix
        ``".gif"`` or ``".mp4"``.
    """

    result_folder: Path
    poses: list[ViewPose]
    times_s: list[float]
    window: tuple[float, float]
    inverted: bool
    suffix: str = ".gif"


def suffixes() -> list[str]:
    """Formats that can be written here."""
    return [".gif", *([".mp4"] if find_spec("imageio_ffmpeg") else [])]


def make_movie(order: MovieOrder, on_progress: Callable[[float], None], stopped: Callable[[], bool]) -> bytes:
    """Render and encode; runs in a thread, the rendering in a child process.

    Parameters
    ----------
    on_progress
        Gets the finished fraction.
    stopped
        Whether the movie is not wanted any more.

    Raises
    ------
    JobCancelled
        ``stopped`` said so.
    RenderServerError
        The render server failed.
    """
    pictures = []
    with RenderClient(order.result_folder, max_pixels=SHAPE[0] * SHAPE[1]) as client:
        client.wait_until_ready(_START_LIMIT_S)
        for number, (pose, time_s) in enumerate(zip(order.poses, order.times_s, strict=True)):
            if stopped():
                raise JobCancelled()
            frame = client.render(pose, time_s, timeout_s=_FRAME_LIMIT_S)
            pictures.append(grey_levels(frame.line_integrals, order.window, vessels_dark=not order.inverted))
            on_progress((number + 1) / (len(order.poses) + 1))
    with tempfile.TemporaryDirectory(prefix="dsarecon-movie-") as folder:
        path = Path(folder) / f"movie{order.suffix}"
        write_movie(path, np.stack(pictures), FRAMES_PER_S)
        on_progress(1.0)
        return path.read_bytes()
