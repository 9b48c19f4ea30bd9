"""Puts the sections of a report into one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

import DSAReconLib
from DSAReconLib.evaluation.report import input_sections, number_sections, result_sections
from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.resources import resource
from DSAReconLib.evaluation.report.scene import compose
from DSAReconLib.progress import Progress, SilentProgress


def build_report(
    path: Path,
    entries: Sequence[ReportEntry],
    case: ReportCase,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Write ``report.html``: one file with its pictures inside, readable without a network.

    Parameters
    ----------
    path
        File to write.
    entries
        Results, at least one; more are compared side by side in this order.
    case
        The acquisition.
    device
        Renders the pictured held-out views of entries that bring no ``rendered`` images.

    Returns
    -------
    ``path``.
    """
    if not entries:
        raise ValueError("entries must hold at least one result")
    progress = progress or SilentProgress()
    sections = []
    for section in _sections(case, entries, device):
        progress.check_cancelled()
        sections.append(section)
        progress.report("report", len(sections) / 12)
    return write_page(path, case.title, sections)


def write_page(path: Path, title: str, sections: Sequence[str]) -> Path:
    """Write sections as one self-contained HTML file."""
    page = Template(resource("page.html")).substitute(
        title=escape(title),
        version=DSAReconLib.__version__,
        style=resource("style.css"),
        script=resource("cine.js"),
        content="\n".join(sections),
    )
    Path(path).write_text(page, encoding="utf-8")
    return Path(path)


def _sections(case: ReportCase, entries: Sequence[ReportEntry], device: str) -> Iterator[str]:
    """The sections one after another, so that a report can be cancelled in between."""
    yield input_sections.header(case, entries)
    yield number_sections.summary_section(case, entries)
    yield input_sections.input_section(case)
    yield input_sections.views_section(case)
    scene = compose(case, entries)
    views = scene.seen(case, entries)
    yield result_sections.contrast_section(case, scene, views)
    yield result_sections.arrival_section(case, entries, scene, views)
    yield result_sections.surface_section(case, entries, scene, views)
    yield result_sections.heldout_section(case, entries, scene, device)
    yield result_sections.curves_section(case, entries, scene, views)
    yield number_sections.numbers_section(entries)
    yield number_sections.protocol_section(truth=case.truth is not None)
    yield number_sections.provenance_section(entries)
