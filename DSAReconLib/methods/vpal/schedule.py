"""Everything in VPAL that depends on the step: levels, rates, and the perturbation of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.methods.vpal.config import Config

_DECAYS = 20
"""The public code multiplies the rate every 5000 of 100,000 steps."""


def active_levels(config: Config, iteration: int) -> int:
    """Levels of the encodings that are on: evenly more until ``progressive_share`` of the fit."""
    if not config.progressive:
        return config.levels
    span = config.progressive_share * config.iterations
    added = config.levels if span <= 0 else int((config.levels - config.first_levels) * iteration / span)
    return min(config.levels, config.first_levels + added)


def rate_factor(config: Config, iteration: int) -> float:
    """Factor of both learning rates: a linear rise during ``rate_warmup``, and stepwise geometric decay.

    All entries start near zero, and Adam moves each by the full rate whatever its gradient:
    the first step would raise the attenuation everywhere, the next ones lower it everywhere,
    past zero, where its ReLU passes no gradient.
    """
    span = config.rate_warmup * config.iterations
    rise = 1.0 if span <= 0 else min(1.0, (iteration + 1) / span)
    return float(rise * config.rate_decay ** (iteration * _DECAYS // config.iterations))


def prior_factor(config: Config, iteration: int) -> float:
    """Factor of the prior's weight: rises linearly to 1 during the second half of ``prior_warmup``."""
    span = config.prior_warmup * config.iterations
    return 1.0 if span <= 0 else float(np.clip(2 * iteration / span - 1, 0, 1))


def perturbed_times(
    times: NDArray[np.float64], views: int, config: Config, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Times and loss weights of a batch of rays; the first half is perturbed (VPAL eq. 1.3).

    Parameters
    ----------
    times
        (n,) in [0, 1].
    views
        Number N of views: the standard deviation is ``perturbation_std`` / N.

    Returns
    -------
    times, weights : (n,)
        Perturbed times, clipped to [0, 1], and 1 / (1 + beta N / (3 std) |dt|).
    """
    shift = np.zeros(len(times))
    if config.perturbation and config.perturbation_std > 0:
        half = len(times) // 2
        shift[:half] = rng.normal(0, config.perturbation_std / views, half)
        weights = 1 / (1 + config.perturbation_beta * views / (3 * config.perturbation_std) * np.abs(shift))
    else:
        weights = np.ones(len(times))
    return np.clip(times + shift, 0, 1).astype(np.float32), weights.astype(np.float32)
