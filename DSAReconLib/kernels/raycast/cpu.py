"""Ray casting on the CPU: padding, launching, unpadding around the numba kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.raycast import cpu_joseph, cpu_mixing, cpu_upright, cpu_voxel
from DSAReconLib.kernels.raycast.setup import AxisGroup, RaySetup
from DSAReconLib.kernels.raycast.workspace import Workspace
from DSAReconLib.kernels.threads import kernel_launch

_PAD = cpu_joseph.PADDING


def project(
    volume: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Line integrals (V, R, C) of a C-contiguous float32 volume (z, y, x)."""
    workspace = workspace or Workspace()
    out = np.empty(setup.range_shape, np.float32) if out is None else out
    with kernel_launch(chunk_size=1):
        out[:] = 0
        for group in setup.groups:
            padded = workspace.zero_bordered(_padded_shape(group))
            cpu_joseph.pad_volume(volume, group.axis, padded)
            _add_line_integrals(padded, group, out)
    return out


def backproject(
    projections: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Adjoint of :func:`project`: (z, y, x) from C-contiguous float32 projections (V, R, C)."""
    workspace = workspace or Workspace()
    out = np.empty(setup.grid.shape_zyx, np.float32) if out is None else out
    with kernel_launch(chunk_size=1):
        out[:] = 0
        for group in setup.groups:
            padded = workspace.zero_bordered(_padded_shape(group))
            _scatter_projections(projections, group, padded)
            cpu_joseph.add_unpadded(padded, group.axis, out)
            _clear_border(padded)
    return out


def project_dynamic(
    coefficients: NDArray[np.float32],
    weights: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Line integrals (V, R, C); view v sees sum_k weights[v, k] coefficients[k], (K, z, y, x)."""
    workspace = workspace or Workspace()
    out = np.empty(setup.range_shape, np.float32) if out is None else out
    with kernel_launch(chunk_size=1):
        out[:] = 0
        for view in np.flatnonzero(weights.any(1)):
            for group in setup.subset(view).groups:
                padded = workspace.zero_bordered(_padded_shape(group))
                cpu_mixing.pad_mixed(coefficients, weights[view], group.axis, padded)
                _add_line_integrals(padded, group, out[view : view + 1])
    return out


def backproject_dynamic(
    projections: NDArray[np.float32],
    weights: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Adjoint of :func:`project_dynamic` in the coefficients: (K, z, y, x)."""
    workspace = workspace or Workspace()
    out = np.empty((weights.shape[1], *setup.grid.shape_zyx), np.float32) if out is None else out
    with kernel_launch(chunk_size=1):
        out[:] = 0
        for view in np.flatnonzero(weights.any(1)):
            for group in setup.subset(view).groups:
                padded = workspace.zero_bordered(_padded_shape(group))
                _scatter_projections(projections[view : view + 1], group, padded)
                cpu_mixing.add_unpadded_mixed(padded, weights[view], group.axis, out)
                _clear_border(padded)
    return out


def backproject_fdk(
    filtered: NDArray[np.float32],
    setup: RaySetup,
    *,
    out: NDArray[np.float32] | None = None,
    workspace: Workspace | None = None,
) -> NDArray[np.float32]:
    """Sum over views of filtered(projection of the voxel) / depth^2, (z, y, x), 1/mm^2."""
    workspace = workspace or Workspace()
    out = np.empty(setup.grid.shape_zyx, np.float32) if out is None else out
    _, rows, columns = setup.range_shape
    upright = cpu_upright.upright_views(setup.matrices, setup.grid.shape_zyx[0])
    straight, tilted = np.flatnonzero(upright), np.flatnonzero(~upright)
    with kernel_launch(chunk_size=2):
        out[:] = 0
        if len(straight):
            padded = workspace.zero_bordered((len(straight), columns + _PAD, rows + _PAD))
            cpu_upright.pad_transposed(filtered, straight, padded)
            cpu_upright.backproject_upright(out, padded, setup.matrices_f32[straight].reshape(-1, 12))
        if len(tilted):
            padded = workspace.zero_bordered((len(tilted), rows + _PAD, columns + _PAD))
            cpu_voxel.pad_images(filtered, tilted, padded)
            cpu_voxel.backproject_voxels(out, padded.reshape(-1), setup.matrices_f32[tilted], rows, columns)
    return out


def _add_line_integrals(padded: NDArray[np.float32], group: AxisGroup, out: NDArray[np.float32]) -> None:
    _, count_b, count_a = group.shape_mba
    cpu_joseph.project_joseph(
        padded.reshape(-1), count_b, count_a, group.tiles, group.rays_f32, group.spacing_f32, group.row_blocks, out
    )


def _scatter_projections(projections: NDArray[np.float32], group: AxisGroup, padded: NDArray[np.float32]) -> None:
    """Overwrite ``padded``, border included, with the adjoint of :func:`_add_line_integrals`."""
    _, count_b, count_a = group.shape_mba
    cpu_joseph.backproject_joseph(
        padded.reshape(-1), count_b, count_a, group.tiles, group.rays_f32, group.spacing_f32, projections
    )


def _padded_shape(group: AxisGroup) -> tuple[int, int, int]:
    slices, count_b, count_a = group.shape_mba
    return slices, count_b + _PAD, count_a + _PAD


def _clear_border(padded: NDArray[np.float32]) -> None:
    """Zero the border again, which the adjoint has scattered into."""
    padded[:, 0] = padded[:, -2:] = 0
    padded[:, :, 0] = padded[:, :, -2:] = 0
