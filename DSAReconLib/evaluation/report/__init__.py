"""The HTML report of one result, of methods side by side, or of a comparison over cases: one self-contained file."""

from DSAReconLib.evaluation.report.case import ReportCase, ReportEntry
from DSAReconLib.evaluation.report.comparison import ComparedCase, build_comparison, compose_case
from DSAReconLib.evaluation.report.page import build_report
from DSAReconLib.evaluation.report.rows import ResultRow, write_csv, write_statistics

__all__ = [
    "ComparedCase",
    "ReportCase",
    "ReportEntry",
    "ResultRow",
    "build_comparison",
    "build_report",
    "compose_case",
    "write_csv",
    "write_statistics",
]
