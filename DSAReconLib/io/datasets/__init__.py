"""Cases in the layouts of published programs: read as mask and fill run, written from runs."""

from DSAReconLib.io.datasets.case import DatasetCase
from DSAReconLib.io.datasets.find import LAYOUTS, find_dataset, read_dataset

__all__ = ["LAYOUTS", "DatasetCase", "find_dataset", "read_dataset"]
