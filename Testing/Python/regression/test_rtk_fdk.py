"""Our FDK against the FDK of RTK on the same projections."""

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.balls import FULL_TURN_DEG, SHORT_SCAN_DEG, ball, c_arm, distance_mm

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.operators.fdk import FdkFilter, reconstruct_fdk
from DSAReconLib.progress import SilentProgress

pytestmark = pytest.mark.rtk
GRID = VolumeGrid((40, 44, 48), (3.0, 2.8, 2.6), (-61.0, -60.0, -62.0))
BALLS = (((25, 10, 5), 20.0, 1.0), ((-20, -30, -15), 12.0, 0.7), ((10, -35, 20), 6.0, 0.5))


@pytest.fixture(scope="module")
def rtk_peer():
    pytest.importorskip("itk")
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    yield pytest.importorskip("rtk_peer")
    sys.path.remove(folder)


@pytest.mark.parametrize(
    ("angles", "changes", "hann", "correlation"),
    [
        (SHORT_SCAN_DEG, {}, False, 0.99999),
        (SHORT_SCAN_DEG, {}, True, 0.99999),
        (SHORT_SCAN_DEG[::-1], {}, False, 0.99999),
        (FULL_TURN_DEG, {}, False, 0.999999),
        (np.linspace(0, 270, 120), {}, False, 0.99999),
        (SHORT_SCAN_DEG, {"principal_point_px": (29.0, 35.0)}, False, 0.9999),
        (FULL_TURN_DEG, {"secondary_deg": 15.0}, False, 0.9999),
    ],
    ids=["short", "hann", "reversed", "full", "270", "offset", "tilt"],
)
def test_volume_agrees_with_rtk_inside_the_field_of_view(rtk_peer, angles, changes, hann, correlation):
    geometry = c_arm(angles, **changes)
    images = sum(weight * ball(geometry, center, radius) for center, radius, weight in BALLS)
    fdk_filter = FdkFilter(geometry, window="hann" if hann else "ram-lak")
    ours = reconstruct_fdk(images, geometry, GRID, fdk_filter, progress=SilentProgress())
    theirs = rtk_peer.rtk_fdk(
        images, GRID, geometry, short_scan=not fdk_filter.orbit.is_full_turn, hann_cutoff=1.0 if hann else 0.0
    )
    inside = distance_mm(GRID) < 60
    assert np.corrcoef(ours[inside], theirs[inside])[0, 1] > correlation
    assert (ours[inside] @ theirs[inside]) / (theirs[inside] @ theirs[inside]) == pytest.approx(1, abs=0.003)
