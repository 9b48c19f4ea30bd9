"""Which of the acquired frames a reconstruction uses."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.acquisition.trajectory import beam_directions
from DSAReconLib.errors import ConfigError
from DSAReconLib.geometry import ConeBeamGeometry

STRATEGIES = ("uniform", "bolus")
# Half of the views follow the arc, half the wash-in: no gap grows beyond twice the uniform one.
_ARC_SHARE = 0.5
_SLICE = re.compile(r"^\s*(\d*)\s*:\s*(\d*)\s*(?::\s*(\d+)\s*)?$")


def select_views(
    times_s: ArrayLike,
    geometry: ConeBeamGeometry,
    count: int,
    strategy: str = "uniform",
    line_integrals: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Ascending frame indices (N,).

    Parameters
    ----------
    times_s
        Times (V,) of all frames, s.
    geometry
        Poses of all frames.
    count
        Number N of views, 2 to V.
    strategy
        ``"uniform"``: floor(k V / N), the rule of VPAL and 4DRGS. ``"bolus"``: more views
        while contrast flows in. Frame k gets the density 1/2 (its share of the swept arc)
        + 1/2 (its share of the rise of the total contrast); view j is the frame where the
        summed density passes (j + 1/2) / N. The first half bounds every gap on the arc to
        twice the uniform one.
    line_integrals
        For ``"bolus"``: line integrals (V, R, C) or total contrast per frame (V,).

    Raises
    ------
    ConfigError
        ``config.views`` or ``config.strategy``.
    """
    frames = len(geometry)
    if not 2 <= count <= frames:
        raise ConfigError(
            f"The number of views must lie between 2 and the {frames} frames of the run; got {count}.",
            code="config.views",
        )
    if strategy == "uniform":
        return np.minimum(np.arange(count) * frames // count, frames - 1)
    if strategy != "bolus":
        raise ConfigError(
            f"The view selection must be one of {', '.join(STRATEGIES)}; got {strategy!r}.", code="config.strategy"
        )
    if line_integrals is None:
        raise ValueError("strategy 'bolus' needs line_integrals")
    contrast = _total_contrast(line_integrals, frames)
    density = _ARC_SHARE * _arc_share(geometry) + (1 - _ARC_SHARE) * _rise_share(contrast, np.asarray(times_s, float))
    return _quantile_frames(density, count)


def parse_view_indices(text: str, frames: int) -> NDArray[np.int64]:
    """Ascending unique frame indices from ``"0,4,8"``, ``"0:133:4"`` or a mixture by commas.

    Raises
    ------
    ConfigError
        ``config.view_indices`` for anything else, or indices outside the run.
    """
    hint = "Write numbers or start:stop:step ranges, separated by commas, e.g. 0,4,8 or 0:133:4."
    indices: list[int] = []
    for part in text.split(","):
        match = _SLICE.match(part)
        if match:
            start, stop, step = (int(group) if group else None for group in match.groups())
            if step == 0:
                raise ConfigError(f"View indices {text!r}: the step is 0.", code="config.view_indices", hint=hint)
            indices += range(*slice(start, stop if stop is None else min(stop, frames), step).indices(frames))
        elif part.strip().isdigit():
            indices.append(int(part))
        else:
            raise ConfigError(
                f"View indices {text!r}: {part.strip()!r} is no number or range.", code="config.view_indices", hint=hint
            )
    chosen = np.unique(np.array(indices, np.int64))
    if chosen.size < 2:
        raise ConfigError(
            f"View indices {text!r} choose {chosen.size} view(s); at least 2 are needed.",
            code="config.view_indices",
            hint=hint,
        )
    if chosen[-1] >= frames:
        raise ConfigError(
            f"View index {chosen[-1]} is beyond the last frame {frames - 1} of the run.",
            code="config.view_indices",
            hint="Frames count from 0.",
        )
    return chosen


def _total_contrast(line_integrals: ArrayLike, frames: int) -> NDArray[np.float64]:
    values = np.asarray(line_integrals)
    if values.shape[0] != frames or values.ndim not in (1, 3):
        raise ValueError(f"line_integrals must have shape ({frames},) or ({frames}, R, C); got {values.shape}")
    return values.reshape(frames, -1).sum(axis=1, dtype=np.float64)


def _arc_share(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Share (V,) of the swept arc around each frame."""
    steps = np.linalg.norm(np.diff(beam_directions(geometry), axis=0), axis=1)
    around = np.concatenate([steps[:1], (steps[:-1] + steps[1:]) / 2, steps[-1:]])
    return around / around.sum() if around.sum() > 0 else np.full(len(geometry), 1 / len(geometry))


def _rise_share(contrast: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share (V,) of the rise of the smoothed total contrast around each frame; even if nothing rises."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(contrast, max(1.0, len(contrast) / 40), mode="nearest")
    rise = np.clip(np.gradient(smooth, times_s), 0, None) * np.gradient(times_s)
    return rise / rise.sum() if rise.sum() > 0 else np.full(len(contrast), 1 / len(contrast))


def _quantile_frames(density: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Distinct frames at evenly spaced quantiles of a density over the frames."""
    edges = np.concatenate([[0.0], np.cumsum(density)])
    wanted = np.interp((np.arange(count) + 0.5) / count * edges[-1], edges, np.arange(len(edges))) - 0.5
    chosen = np.clip(np.round(wanted), 0, len(density) - 1).astype(int)
    # Where quantiles crowd into one frame, neighbors take over: push up, then back from the end.
    for k in range(1, count):
        chosen[k] = max(chosen[k], chosen[k - 1] + 1)
    chosen[-1] = min(chosen[-1], len(density) - 1)
    for k in range(count - 2, -1, -1):
        chosen[k] = min(chosen[k], chosen[k + 1] - 1)
    return chosen.astype(np.int64)
