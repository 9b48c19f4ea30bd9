"""Cone-beam poses, volume grids and angles. Numpy only."""

from DSAReconLib.geometry.conebeam import ConeBeamGeometry
from DSAReconLib.geometry.grid import VolumeGrid

__all__ = ["ConeBeamGeometry", "VolumeGrid"]
