"""Our projector beside the Reconstruction Toolkit's."""

import numpy as np
import pytest
from helpers.projection import rotational_geometry
from helpers.requires import requires_package

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels import raycast
from Testing.benchmarks import rtk_peer

pytestmark = [pytest.mark.rtk, requires_package("itk")]
GRID = VolumeGrid((24, 20, 22), (2.0, 2.0, 2.0), (-20.0, -17.0, -26.0))


def blob():
    """Vanishes at the faces of the box, where RTK ends abruptly and we taper over one voxel."""
    distance = ((GRID.points_mm() - GRID.center_mm) / (3.6, 3.0, 4.2)) ** 2
    return np.exp(-0.5 * distance.sum(-1)).reshape(GRID.shape_zyx).astype(np.float32)


def relative_difference(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def test_line_integrals_equal_rtk():
    geometry = rotational_geometry(views=6, shape=(40, 44))
    ours = raycast.project(blob(), GRID, geometry)
    assert relative_difference(ours, rtk_peer.rtk_forward(blob(), GRID, geometry)) < 1e-4


def test_adjoint_equals_rtk_inside_the_volume():
    geometry = rotational_geometry(views=6, shape=(40, 44))
    images = raycast.project(blob(), GRID, geometry)
    inside = (slice(2, -2),) * 3
    ours = raycast.backproject(images, geometry, GRID)[inside]
    assert relative_difference(ours, rtk_peer.rtk_backproject(images, geometry, GRID)[inside]) < 1e-2


def test_voxel_driven_backprojection_equals_rtk():
    geometry = rotational_geometry(views=6, shape=(40, 44))
    images = raycast.project(blob(), GRID, geometry)
    ours = 750.0**2 * raycast.backproject_fdk(images, geometry, GRID)
    assert relative_difference(ours, rtk_peer.rtk_backproject_fdk(images, geometry, GRID)) < 1e-5
