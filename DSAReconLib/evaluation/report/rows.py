"""The outcome of a comparison as rows: one per case, method and number of views."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from DSAReconLib.evaluation.report.tables import LABELS, Values, formatted
from DSAReconLib.evaluation.statistics import paired_difference


@dataclass(frozen=True)
class ResultRow:
    """What one method made of one case from one number of views.

    Parameters
    ----------
    case, method, title, views
        Which result; ``title`` is the method's.
    values
        Metrics, times and memory; empty if there is no result.
    facts
        Text columns: preset, seed, device, version.
    failure
        Why there is no result; empty if there is one.
    """

    case: str
    method: str
    title: str
    views: int
    values: Values = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class RowTable:
    """All rows of a comparison, with the questions that its tables and charts ask."""

    rows: Sequence[ResultRow]

    @property
    def cases(self) -> list[str]:
        """Cases in order."""
        return list(dict.fromkeys(row.case for row in self.rows))

    @property
    def titles(self) -> list[str]:
        """Methods in order; the place in this list is the method's color."""
        return list(dict.fromkeys(row.title for row in self.rows))

    @property
    def view_counts(self) -> list[int]:
        """Numbers of views, increasing."""
        return sorted({row.views for row in self.rows})

    @property
    def failures(self) -> list[ResultRow]:
        """Rows without a result."""
        return [row for row in self.rows if row.failure]

    def by_case(self, title: str, views: int, metric: str) -> dict[str, float | None]:
        """Case to value."""
        chosen = [row for row in self.rows if row.title == title and row.views == views]
        return {row.case: row.values.get(metric) for row in chosen}

    def of_case(self, case: str, views: int) -> list[ResultRow]:
        """Rows of one case and number of views, in the order of :attr:`titles`."""
        return [row for row in self.rows if row.case == case and row.views == views]

    def known(self, metrics: Iterable[str]) -> list[str]:
        """Those of the metrics that any row has."""
        return [name for name in metrics if any(_exists(row.values.get(name)) for row in self.rows)]


def write_csv(path: Path, rows: Sequence[ResultRow]) -> Path:
    """Write ``results.csv``: text columns, then every number at full precision; empty where there is none."""
    texts = list(dict.fromkeys(name for row in rows for name in row.facts))
    names = {name for row in rows for name in row.values}
    numbers = [name for name in LABELS if name in names] + sorted(names - set(LABELS))
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "method", "views", "status", "reason", *texts, *numbers])
        for row in rows:
            status = ["failed" if row.failure else "done", row.failure]
            facts = [row.facts.get(name, "") for name in texts]
            values = [_number(row.values.get(name)) for name in numbers]
            writer.writerow([row.case, row.method, row.views, *status, *facts, *values])
    partial.replace(path)
    return path


def write_statistics(path: Path, rows: Sequence[ResultRow]) -> Path:
    """Write ``statistics.csv``: paired differences of every two methods over the cases, per metric and number of views.

    Only what both methods have in at least two cases; ``p_value`` as in
    :func:`~DSAReconLib.evaluation.statistics.paired_difference`.
    """
    table = RowTable(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["views", "metric", "first", "second", "cases", "mean_difference", "std_difference", "p_value"])
        for views, name in itertools.product(table.view_counts, table.known(LABELS)):
            for first, second in itertools.combinations(table.titles, 2):
                found = paired_difference(table.by_case(first, views, name), table.by_case(second, views, name))
                if found.count > 1:
                    numbers = [_number(value) for value in (found.mean, found.std, found.p_value)]
                    writer.writerow([views, name, first, second, found.count, *numbers])
    return path


def text_rows(rows: Sequence[ResultRow], metrics: Sequence[str]) -> list[list[str]]:
    """Header and one line of cells per row: case, method, views and the metrics; failures say so."""
    labels = [LABELS[name] for name in metrics]
    lines = [["case", "method", "views", *(f"{x.label} ({x.unit})" if x.unit else x.label for x in labels)]]
    for row in rows:
        cells = [formatted(row.values.get(x.name), x.digits) for x in labels]
        lines.append([row.case, row.title, str(row.views), *(["failed"] * len(labels) if row.failure else cells)])
    return lines


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Cells as columns of plain text, the first two to the left."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _exists(value: float | None) -> bool:
    return value is not None and not np.isnan(value)


def _number(value: float | None) -> str:
    return f"{value:.8g}" if value is not None and not np.isnan(value) else ""
