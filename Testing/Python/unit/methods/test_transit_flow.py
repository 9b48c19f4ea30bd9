"""What the transit method does about late, pulsatile and otherwise unmatched flow."""

from dataclasses import replace

import numpy as np
import pytest

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.methods.transit.support import Support
from DSAReconLib.methods.transit.transit_model import InletCurve, curve_times, transit_delays
from DSAReconLib.methods.transit.voxel_stage import TransitSolution, with_late_delays

DURATION_S = 5.0


def bolus() -> InletCurve:
    times = curve_times(DURATION_S)
    return InletCurve(times, np.clip((times - 0.4) / 0.15, 0, 1) * np.clip((3.2 - times) / 0.15, 0, 1) * 0.15)


@pytest.fixture(name="vessel")
def vertical_vessel() -> TransitSolution:
    """Voxels on a line, all filled with the third delay."""
    grid = VolumeGrid.centered((24, 8, 8), (1.0, 1.0, 1.0))
    index = np.array([(z, 4, 4) for z in range(2, 22)], np.int32)
    delays = transit_delays(bolus(), step_s=0.2, delays_max=28)
    coefficients = np.zeros((len(delays), len(index)), np.float32)
    coefficients[3] = 1
    return TransitSolution(Support(grid, index), bolus(), delays, coefficients)


def test_without_late_contrast_the_delays_stay_as_they_are(vessel):
    assert with_late_delays(vessel, DURATION_S) is vessel


def test_late_contrast_gets_delays_up_to_the_end_of_the_run(vessel):
    coefficients = vessel.coefficients.copy()
    coefficients[-1, :4] = 0.3
    late = with_late_delays(replace(vessel, coefficients=coefficients), DURATION_S)
    onset = late.inlet.onset_s + late.delays_s[-1]
    assert DURATION_S - 0.4 < onset < DURATION_S
    np.testing.assert_allclose(np.diff(late.delays_s), np.diff(vessel.delays_s)[0])
    np.testing.assert_array_equal(late.coefficients[: len(vessel.delays_s)], coefficients)
    assert not late.coefficients[len(vessel.delays_s) :].any()
