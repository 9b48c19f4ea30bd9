"""What the transit method does about late, pulsatile and otherwise unmatched flow."""

from dataclasses import replace

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.methods.transit.evidence import Evidence
from DSAReconLib.methods.transit.phases import views_of_all_phases
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


# ------------------------------------------------------------------ injections in phases
def two_boluses() -> InletCurve:
    times = curve_times(DURATION_S)
    values = [(times >= start) & (times <= start + 1.0) for start in (0.4, 2.8)]
    return InletCurve(times, 0.15 * (values[0] + 0.8 * values[1]))


def evidence_of(images, noise=0.01):
    views, *shape = images.shape
    geometry = ConeBeamGeometry.from_angles(
        np.linspace(-90, 90, views), sod_mm=750, sdd_mm=1200, detector_shape=shape, detector_spacing_mm=(1.6, 1.6)
    )
    return Evidence(images, np.ones_like(images), noise, geometry, np.linspace(0, DURATION_S, views), DURATION_S)


def test_one_phase_leaves_the_views_alone():
    evidence = evidence_of(np.zeros((20, 8, 8), np.float32))
    searched, width = views_of_all_phases(evidence, bolus())
    assert searched is evidence
    assert width == bolus().width_s


def test_views_of_the_later_phase_stand_beside_those_of_the_first():
    evidence = evidence_of(np.arange(41, dtype=np.float32)[:, None, None] * np.ones((1, 8, 8), np.float32))
    searched, width = views_of_all_phases(evidence, two_boluses())
    view = searched.line_integrals[:, 0, 0]
    assert width == pytest.approx(1.0, abs=0.1)
    assert np.all(np.diff(searched.times_s) >= 0)
    np.testing.assert_allclose(searched.times_s[searched.times_s < 0.35], evidence.times_s[:3], atol=1e-9)
    later = view * DURATION_S / 40 - searched.times_s  # how much later than listed the view was taken
    np.testing.assert_allclose(np.minimum(later, abs(later - 2.4)), 0, atol=0.05)
    # a vessel filled from 0.5 s on is filled in every view of its window, in half of them by the second phase
    window = (searched.times_s > 0.5) & (searched.times_s < 1.2)
    assert (later[window] > 1).mean() == pytest.approx(0.5, abs=0.1)
