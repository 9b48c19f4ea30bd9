"""DICOM XA objects in, DICOM results out."""

from DSAReconLib.dicom.find import find_runs
from DSAReconLib.dicom.load import load_pair
from DSAReconLib.dicom.reader import read_run, read_runs

__all__ = ["find_runs", "load_pair", "read_run", "read_runs"]
