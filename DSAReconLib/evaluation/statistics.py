"""Numbers of several cases: mean and spread, and whether one method is better than another on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MINIMUM_CASES = 6
"""Below, a two-sided signed-rank test cannot reach p < 0.05: with n cases its smallest p is 2 / 2**n."""


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation of the values that exist; NaN where too few do."""

    count: int
    mean: float
    std: float


@dataclass(frozen=True)
class PairedDifference:
    """``first - second`` over the cases where both have a value.

    ``p_value`` of the two-sided Wilcoxon signed-rank test (Wilcoxon 1945); ``None`` below
    :data:`MINIMUM_CASES` cases.
    """

    count: int
    mean: float
    std: float
    p_value: float | None


def summarize(values: Sequence[float | None]) -> Summary:
    """Mean and standard deviation; missing and not finite values do not count."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)])
    return Summary(len(known), *_mean_std(known))


def paired_difference(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> PairedDifference:
    """Compare two methods, each given as case to value, on the cases that both have."""
    pairs = [(first[case], second[case]) for case in first if case in second]
    known = np.array([(a, b) for a, b in pairs if a is not None and b is not None and np.isfinite([a, b]).all()])
    differences = known[:, 0] - known[:, 1] if len(known) else np.empty(0)
    return PairedDifference(len(differences), *_mean_std(differences), _signed_rank(differences))


def _mean_std(values: np.ndarray) -> tuple[float, float]:
    mean = float(values.mean()) if len(values) else float("nan")
    return mean, float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _signed_rank(differences: np.ndarray) -> float | None:
    if len(differences) < MINIMUM_CASES:
        return None
    if not differences.any():
        return 1.0  # scipy has no answer where every pair is equal
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue)
