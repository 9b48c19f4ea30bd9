"""Tell steady flow from unsteady flow by the temporal structure of what the fit leaves.

The size of the residual does not: voxels, scatter and the finite number of Gaussians leave
more than the noise of any flow. But they leave it in every region with either sign from view to
view, or all the time, whereas flow that swings dims and brightens whole regions for several views.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from DSAReconLib.kernels.sparse.gaussians import gaussian_gradients
from DSAReconLib.kernels.sparse.views import view_records
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.refinement import APERTURE_PX2, GaussianState
from DSAReconLib.methods.transit.unsteady import steady_flow
from DSAReconLib.reconstruction import TemporalBasis

FEW_VIEWS = 20
_STEADY_SWING, _STEADY_SWING_FEW = 0.035, 0.02
_SMOOTHING = np.array([0.25, 0.5, 0.25])


def steady_swing(views: int) -> float:
    """Steady flow swings less than this.

    From 30 views matched flow swings by 0.014 and pulsatile flow by 0.087; from 10, of which three are longer
    than a beat, by 0.015 and 0.025.
    """
    return _STEADY_SWING if views >= FEW_VIEWS else _STEADY_SWING_FEW


def flow_swing(state: GaussianState, evidence: Evidence, basis: TemporalBasis, model: NDArray[np.float32]) -> float:
    """Relative swing of the contrast of regions of 2 cm over time that a steady model does not follow.

    In every view the residual is fitted by the model's image of each region alone; what
    remains of the factors after smoothing over three views, less their mean over time, is
    averaged (rms, weighted by contrast).

    Parameters
    ----------
    state, basis
        Gaussians and their temporal functions, before any unsteady flow is fitted.
    model
        Line integrals (V, R, C) of the Gaussians.
    """
    amplitudes = basis.at(evidence.times_s) @ state.coefficients.T
    regions = steady_flow(state.means_mm, evidence.duration_s, len(evidence)).in_space(state.means_mm)

    def per_region(images: NDArray[np.float32]) -> NDArray[np.float64]:
        _, slope = gaussian_gradients(
            state.means_mm,
            state.sigmas_mm,
            amplitudes,
            view_records(evidence.geometry),
            images * evidence.weights,
            APERTURE_PX2,
        )
        return regions.spread(amplitudes * slope).astype(float)

    missed, contrast = per_region(evidence.line_integrals - model), per_region(model)
    if contrast.sum() <= 0:
        return 0.0
    mean = missed.sum(0) / np.maximum(contrast.sum(0), 1e-9)
    smooth = [ndimage.convolve1d(part, _SMOOTHING, axis=0, mode="constant") for part in (missed, contrast)]
    swing = smooth[0] / np.maximum(smooth[1], 1e-9) - mean
    return float(np.sqrt((contrast * swing**2).sum() / contrast.sum()))
