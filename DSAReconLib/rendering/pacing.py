"""How large the next picture of a view shall be: small while it moves, full at rest. Standard library only."""

from __future__ import annotations

import math

_FRACTIONS = (1.0, 0.75, 0.5, 0.375, 0.25)  # of the view's sides
_GROW_BELOW = 0.7  # of the target: sizes do not swing around it
_SMOOTHING = 0.4


class PicturePacing:
    """Sizes of pictures that keep a moving view fluent and a resting one sharp.

    Parameters
    ----------
    target_ms
        Time that one picture may take while the view moves, ms.
    rest_s
        A view that has not moved for this time gets its full size, s.
    max_pixels
        Larger views get fewer pixels than they have, with the same aspect.
    """

    def __init__(self, *, target_ms: float = 25.0, rest_s: float = 0.15, max_pixels: int = 1024 * 1024) -> None:
        self.target_ms, self.rest_s, self.max_pixels = target_ms, rest_s, max_pixels
        self._moved_at = -math.inf
        self._ms_per_pixel = 0.0
        self._level = 0

    def moved(self, now_s: float) -> None:
        """Say that the view has changed (camera, time or size)."""
        self._moved_at = now_s

    def is_moving(self, now_s: float) -> bool:
        """Whether the last change is less than ``rest_s`` ago."""
        return now_s - self._moved_at < self.rest_s

    def measured(self, shape: tuple[int, int], elapsed_ms: float) -> None:
        """Say how long a picture took from request to arrival or to render, ms."""
        rate = elapsed_ms / (shape[0] * shape[1])
        self._ms_per_pixel += (_SMOOTHING if self._ms_per_pixel else 1.0) * (rate - self._ms_per_pixel)

    def shape(self, view_shape: tuple[int, int], now_s: float) -> tuple[int, int]:
        """(rows, columns) to ask for in a view of ``view_shape`` = (rows, columns) pixels."""
        if not self.is_moving(now_s):
            return self._scaled(view_shape, 1.0)
        self._level = self._next_level(view_shape)
        return self._scaled(view_shape, _FRACTIONS[self._level])

    def _next_level(self, view_shape: tuple[int, int]) -> int:
        level = self._level
        while level + 1 < len(_FRACTIONS) and self._expected_ms(view_shape, level) > self.target_ms:
            level += 1
        if level == self._level > 0 and self._expected_ms(view_shape, level - 1) < _GROW_BELOW * self.target_ms:
            level -= 1
        return level

    def _expected_ms(self, view_shape: tuple[int, int], level: int) -> float:
        rows, columns = self._scaled(view_shape, _FRACTIONS[level])
        return self._ms_per_pixel * rows * columns

    def _scaled(self, view_shape: tuple[int, int], fraction: float) -> tuple[int, int]:
        rows, columns = view_shape
        fraction *= min(1.0, math.sqrt(self.max_pixels / (rows * columns)))
        return max(1, int(rows * fraction)), max(1, int(columns * fraction))
