"""The HTML report of one result or of several methods side by side: one self-contained file."""

from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.page import build_report

__all__ = ["ReportCase", "ReportEntry", "build_report"]
