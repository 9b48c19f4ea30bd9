"""Ray casting of numpy arrays by the torch reference, for machines without numba."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.raycast.setup import RaySetup
from DSAReconLib.kernels.raycast.workspace import Workspace


def project(
    volume: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Line integrals (V, R, C) of a volume (z, y, x); ``workspace`` is not needed."""
    from DSAReconLib.kernels.raycast import reference

    return _through_torch(reference.project, volume, setup, out)


def backproject(
    projections: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Adjoint of :func:`project`."""
    from DSAReconLib.kernels.raycast import reference

    return _through_torch(reference.backproject, projections, setup, out)


def backproject_fdk(
    filtered: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Sum over views of filtered(projection of the voxel) / depth^2, (z, y, x)."""
    from DSAReconLib.kernels.raycast import reference

    return _through_torch(reference.backproject_fdk, filtered, setup, out)


def project_dynamic(
    coefficients: NDArray[np.float32],
    weights: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Line integrals (V, R, C); view v sees sum_k weights[v, k] coefficients[k]."""
    from DSAReconLib.kernels.raycast import reference

    return _through_torch(lambda x, rays: reference.project_dynamic(x, weights, rays), coefficients, setup, out)


def backproject_dynamic(
    projections: NDArray[np.float32],
    weights: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Adjoint of :func:`project_dynamic` in the coefficients: (K, z, y, x)."""
    from DSAReconLib.kernels.raycast import reference

    return _through_torch(lambda y, rays: reference.backproject_dynamic(y, weights, rays), projections, setup, out)


def _through_torch(
    function: Callable, values: NDArray[np.float32], setup: RaySetup, out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        result: NDArray[np.float32] = function(torch.from_numpy(values), setup).numpy()
    if out is None:
        return result
    out[:] = result
    return out
