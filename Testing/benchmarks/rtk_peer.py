"""The Reconstruction Toolkit (RTK, pip package itk-rtk) behind the interfaces of our own kernels.

Arrays and geometry as everywhere (patient LPS, (view, row, col), (z, y, x)); the turn to
RTK's axes is :mod:`DSAReconLib.geometry.interop.rtk`. Used by benchmarks and by tests
that compare with RTK.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.geometry.interop import rtk as interop


def set_threads(count: int) -> None:
    """Let every RTK filter made from now on use ``count`` threads."""
    import itk

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(count)


def rtk_geometry(geometry: ConeBeamGeometry) -> Any:
    """RTK's geometry object (AddProjection from the vectors of each view)."""
    return interop.to_rtk(geometry)


def rtk_forward(
    volume: NDArray[np.float32], grid: VolumeGrid, geometry: ConeBeamGeometry, algorithm: str = "Joseph"
) -> NDArray[np.float32]:
    """Line integrals (V, R, C) by RTK's ``<algorithm>ForwardProjectionImageFilter``."""
    images = np.zeros((len(geometry), *geometry.detector_shape), np.float32)
    project = _filter(f"{algorithm}ForwardProjectionImageFilter")
    project.SetInput(0, _projection_image(images, geometry))
    project.SetInput(1, _volume_image(volume, grid))
    project.SetGeometry(rtk_geometry(geometry))
    return _output(project)


def rtk_backproject(
    projections: NDArray[np.float32], geometry: ConeBeamGeometry, grid: VolumeGrid
) -> NDArray[np.float32]:
    """RTK's adjoint of its Joseph projector, (z, y, x)."""
    return _backprojected("JosephBackProjectionImageFilter", projections, geometry, grid)


def rtk_backproject_fdk(
    filtered: NDArray[np.float32], geometry: ConeBeamGeometry, grid: VolumeGrid
) -> NDArray[np.float32]:
    """RTK's voxel-driven backprojection with its weight (sod / depth)^2, (z, y, x)."""
    return _backprojected("FDKBackProjectionImageFilter", filtered, geometry, grid)


def rtk_fdk(
    projections: NDArray[np.float32],
    grid: VolumeGrid,
    geometry: ConeBeamGeometry,
    *,
    short_scan: bool = True,
    hann_cutoff: float = 0.0,
) -> NDArray[np.float32]:
    """RTK's FDK reconstruction (z, y, x), 1/mm.

    Parameters
    ----------
    projections, grid, geometry
        Line integrals (V, R, C), voxels, poses.
    short_scan
        Parker weights. They presume an unturned panel, so images and geometry are turned
        by 180 degrees first.
    hann_cutoff
        Cut-off of the Hann window relative to Nyquist; 0 = none.
    """
    turned = interop.panel_turned(geometry)
    images = _projection_image(np.ascontiguousarray(projections[:, ::-1, ::-1]), turned)
    rtk_poses = rtk_geometry(turned)
    if short_scan:
        parker = _filter("ParkerShortScanImageFilter", types=1)
        parker.SetInput(images)
        parker.SetGeometry(rtk_poses)
        parker.InPlaceOff()
        parker.Update()
        images = parker.GetOutput()
    reconstruct = _filter("FDKConeBeamReconstructionFilter", types=1)
    reconstruct.SetInput(0, _volume_image(np.zeros(grid.shape_zyx, np.float32), grid))
    reconstruct.SetInput(1, images)
    reconstruct.SetGeometry(rtk_poses)
    reconstruct.GetRampFilter().SetTruncationCorrection(0.0)
    reconstruct.GetRampFilter().SetHannCutFrequency(hann_cutoff)
    return interop.volume_from_rtk(_output(reconstruct))


def _backprojected(
    name: str, projections: NDArray[np.float32], geometry: ConeBeamGeometry, grid: VolumeGrid
) -> NDArray[np.float32]:
    backproject = _filter(name)
    backproject.SetInput(0, _volume_image(np.zeros(grid.shape_zyx, np.float32), grid))
    backproject.SetInput(1, _projection_image(projections, geometry))
    backproject.SetGeometry(rtk_geometry(geometry))
    return interop.volume_from_rtk(_output(backproject))


def _filter(name: str, types: int = 2) -> Any:
    """New RTK filter for float images; ``types`` = number of its image type arguments."""
    import itk
    from itk import RTK as rtk

    image = itk.Image[itk.F, 3]
    return getattr(rtk, name)[image if types == 1 else (image,) * types].New()


def _volume_image(volume: NDArray[np.float32], grid: VolumeGrid) -> Any:
    array, spacing, origin = interop.volume_to_rtk(volume, grid)
    return _image(array, spacing, origin)


def _projection_image(images: NDArray[np.float32], geometry: ConeBeamGeometry) -> Any:
    row_mm, column_mm = geometry.detector_spacing_mm
    return _image(images, (column_mm, row_mm, 1.0), interop.projection_origin_mm(geometry))


def _image(array: NDArray[np.float32], spacing: Any, origin: Any) -> Any:
    import itk

    image = itk.image_from_array(np.ascontiguousarray(array, np.float32))
    image.SetSpacing([float(value) for value in spacing])
    image.SetOrigin([float(value) for value in origin])
    return image


def _output(made_by: Any) -> NDArray[np.float32]:
    import itk

    made_by.Update()
    return itk.array_from_image(made_by.GetOutput())
