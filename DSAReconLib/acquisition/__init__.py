"""From two rotational runs to contrast line integrals."""

from DSAReconLib.acquisition.angiogram import Angiogram
from DSAReconLib.acquisition.run import RotationalRun

__all__ = ["Angiogram", "RotationalRun"]
