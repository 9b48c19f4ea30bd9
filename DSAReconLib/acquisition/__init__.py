"""From two rotational runs to contrast line integrals."""

from DSAReconLib.acquisition.angiogram import Angiogram
from DSAReconLib.acquisition.corrections import corrected_run
from DSAReconLib.acquisition.pairing import RunPair, check_pair, choose_pair, order_by_contrast, pair_runs
from DSAReconLib.acquisition.run import RotationalRun
from DSAReconLib.acquisition.selection import parse_view_indices, select_views
from DSAReconLib.acquisition.subtraction import subtract
from DSAReconLib.acquisition.summary import RunSummary, summarize_run

__all__ = [
    "Angiogram",
    "RotationalRun",
    "RunPair",
    "RunSummary",
    "check_pair",
    "choose_pair",
    "corrected_run",
    "order_by_contrast",
    "pair_runs",
    "parse_view_indices",
    "select_views",
    "subtract",
    "summarize_run",
]
