"""The short cut of FDK's backprojection for views without tilt."""

from __future__ import annotations

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.kernels.raycast import backproject_fdk, cpu_upright
from DSAReconLib.kernels.raycast.setup import RaySetup

GRID = VolumeGrid((21, 18, 26), (2.1, 1.7, 1.3), (-19.0, -12.0, -24.0))


def _geometry(secondary, roll=0.0, views=7):
    return ConeBeamGeometry.from_angles(
        np.linspace(-80, 110, views),
        secondary,
        roll_deg=roll,
        sod_mm=700.0,
        sdd_mm=1100.0,
        detector_shape=(40, 52),
        detector_spacing_mm=(1.5, 1.2),
        principal_point_px=(17.3, 29.0),
    )


def _upright(geometry):
    return cpu_upright.upright_views(RaySetup.of(GRID, geometry).matrices, GRID.shape_zyx[0])


def test_only_views_without_tilt_and_roll_are_upright():
    assert _upright(_geometry(0.0)).all()
    assert not _upright(_geometry(0.5)).any()
    assert not _upright(_geometry(0.0, roll=0.5)).any()
    assert _upright(_geometry(np.array([0, 0, 12, 0, -7, 0, 0.0]))).tolist() == [1, 1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize("secondary", [0.0, np.array([0, 0, 12, 0, -7, 0, 0.0])], ids=["all", "some"])
def test_the_short_cut_gives_what_the_general_kernel_gives(secondary, monkeypatch):
    geometry = _geometry(secondary)
    images = np.random.default_rng(4).normal(size=(7, 40, 52)).astype(np.float32)
    quick = backproject_fdk(images, geometry, GRID)
    monkeypatch.setattr(cpu_upright, "upright_views", lambda matrices, height: np.zeros(len(matrices), bool))
    general = backproject_fdk(images, geometry, GRID)
    assert np.abs(general).max() > 0
    assert np.linalg.norm(quick - general) < 1e-4 * np.linalg.norm(general)
