"""numba kernel of the voxel-driven backprojection of filtered projections."""
# numba functions carry no annotations: their types are inferred at the call
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from numba import float32, int32, njit, prange

from DSAReconLib.kernels.intrinsics import JIT_OPTIONS, acc_add, i32add, i32mul
from DSAReconLib.kernels.raycast.cpu_joseph import PADDING, bilinear

_VIEWS_PER_PASS = 8
"""Views added to a slice before the next slice: their images stay in the cache."""


@njit(parallel=True, **JIT_OPTIONS)
def pad_images(images, views, padded):
    """Copy images ``views`` of (V, R, C) into the inner part of ``padded`` (len(views), R+3, C+3)."""
    for i in prange(len(views)):
        padded[i, 1:-2, 1:-2] = images[views[i]]


@njit(**JIT_OPTIONS)
def _add_line(line, image, pitch, column0, row0, depth0, column1, row1, depth1, last_column, last_row):
    """Add image values / depth^2 at the projections of one line of voxels along x."""
    for x in range(line.shape[0]):
        i = float32(x)
        depth = depth0 + depth1 * i
        inverse = float32(1) / depth if depth > float32(1e-3) else float32(0)
        column = min(max((column0 + column1 * i) * inverse + float32(1), float32(0)), last_column)
        row = min(max((row0 + row1 * i) * inverse + float32(1), float32(0)), last_row)
        ic, ir = int32(column), int32(row)
        offset = i32add(i32mul(ir, pitch), ic)
        value = bilinear(image, offset, pitch, column - float32(ic), row - float32(ir))
        acc_add(line, x, inverse * inverse * value)


@njit(parallel=True, **JIT_OPTIONS)
def backproject_voxels(volume, images, matrices, rows, columns):
    """Add sum over views of image(projection of the voxel) / depth^2 to the volume (z, y, x)."""
    nz, ny, _ = volume.shape
    pitch = columns + PADDING
    size = pitch * (rows + PADDING)
    views = matrices.shape[0]
    for start in range(0, views, _VIEWS_PER_PASS):
        for z in prange(nz):
            for view in range(start, min(start + _VIEWS_PER_PASS, views)):
                m = matrices[view]
                image = images[view * size : (view + 1) * size]
                column_z = m[2] * float32(z) + m[3]
                row_z = m[6] * float32(z) + m[7]
                depth_z = m[10] * float32(z) + m[11]
                for y in range(ny):
                    j = float32(y)
                    _add_line(
                        volume[z, y],
                        image,
                        int32(pitch),
                        m[1] * j + column_z,
                        m[5] * j + row_z,
                        m[9] * j + depth_z,
                        m[0],
                        m[4],
                        m[8],
                        float32(columns + 1),
                        float32(rows + 1),
                    )
