"""Films of rendered views: animated GIF by Pillow, MP4 by imageio-ffmpeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.errors import ConfigError, DependencyError
from DSAReconLib.rendering.images import pillow_image

MOVIE_SUFFIXES = (".gif", ".mp4")
_MP4_BLOCK = 2  # H.264 with 4:2:0 color needs even sides


def write_movie(path: Path, pictures: NDArray[np.uint8], frames_per_s: float = 10.0) -> None:
    """Write pictures (F, R, C) or (F, R, C, 3) as a film that repeats; the suffix decides the format.

    Raises
    ------
    ConfigError
        The suffix is neither .gif nor .mp4.
    DependencyError
        The package that writes this format is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".gif":
        _write_gif(Path(path), pictures, frames_per_s)
    elif suffix == ".mp4":
        _write_mp4(Path(path), pictures, frames_per_s)
    else:
        raise ConfigError(
            f"{path} has no suffix of a film.", hint=f"Use one of: {', '.join(MOVIE_SUFFIXES)}.", code="config.movie"
        )


def check_movie(path: Path) -> None:
    """Raise the DependencyError of :func:`write_movie` before hours of rendering instead of after them."""
    if Path(path).suffix.lower() == ".mp4":
        _imageio_ffmpeg()


def _imageio_ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise DependencyError(
            "MP4 films are written with imageio-ffmpeg, which is not installed.",
            hint="Install it (pip install imageio-ffmpeg) or write a .gif.",
        ) from error
    return imageio_ffmpeg


def _write_gif(path: Path, pictures: NDArray[np.uint8], frames_per_s: float) -> None:
    image = pillow_image()
    frames = [image.fromarray(picture) for picture in pictures]
    # GIF counts hundredths of a second, and viewers slow down frames of less than two
    duration_ms = max(20, round(100 / frames_per_s) * 10)
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0)


def _write_mp4(path: Path, pictures: NDArray[np.uint8], frames_per_s: float) -> None:
    imageio_ffmpeg = _imageio_ffmpeg()
    rgb = pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, -1)
    rows, columns = (n - n % _MP4_BLOCK for n in rgb.shape[1:3])
    writer = imageio_ffmpeg.write_frames(str(path), (columns, rows), fps=frames_per_s, macro_block_size=_MP4_BLOCK)
    writer.send(None)
    try:
        for frame in rgb:
            writer.send(np.ascontiguousarray(frame[:rows, :columns]))
    finally:
        writer.close()
