"""Linear operators: geometry, grid and kernels as mathematics."""

from DSAReconLib.operators.conebeam import ConeBeamProjector
from DSAReconLib.operators.dynamic import DynamicConeBeamProjector
from DSAReconLib.operators.linear import LinearOperator

__all__ = ["ConeBeamProjector", "DynamicConeBeamProjector", "LinearOperator"]
