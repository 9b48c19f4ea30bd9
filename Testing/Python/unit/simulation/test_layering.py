"""Contrast that sinks across the lumen."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import small_config

from DSAReconLib.progress import SilentProgress
from DSAReconLib.simulation import simulate_case
from DSAReconLib.simulation.layering import STRONGEST, layering_factors, layering_strength
from DSAReconLib.simulation.transport import Flow
from DSAReconLib.simulation.trees import VesselTree
from DSAReconLib.simulation.voxelize import grid_around, voxelize_tree

FLOW = Flow(model="layering")


def tube(radius_mm, direction=(1.0, 0.0, 0.0), nodes=41):
    points = np.linspace(-16, 16, nodes)[:, None] * np.asarray(direction) + 0.13
    return VesselTree.from_parents(points, np.full(nodes, radius_mm), np.arange(nodes) - 1)


def factors(tree):
    voxels = voxelize_tree(tree, grid_around(tree, 0.4))
    return voxels, layering_factors(voxels, tree, FLOW)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.6, 0.48, 0.64)])
def test_the_amount_of_contrast_in_every_cross_section_is_kept(direction):
    voxels, factor = factors(tube(1.7, direction))
    assert np.ptp(factor) > 0.5
    plain, layered = (np.bincount(voxels.node, voxels.occupancy * value) for value in (1.0, factor))
    np.testing.assert_allclose(layered, plain, rtol=1e-5)


def test_contrast_is_denser_on_the_side_of_gravity():
    tree = tube(2.5)
    voxels, factor = factors(tree)
    height = voxels.grid.points_mm(voxels.support)[:, 1] - 0.13
    inner = voxels.occupancy == 1
    expected = 1 + layering_strength(tree, FLOW)[0] * height[inner] / 2.5
    np.testing.assert_allclose(factor[inner], expected, atol=0.06)
    assert factor[inner & (height > 1.8)].min() > 1.3
    assert factor[inner & (height < -1.8)].max() < 0.7


def test_thin_vessels_and_vessels_along_gravity_are_not_layered():
    np.testing.assert_array_equal(factors(tube(0.35))[1], 1)
    voxels, factor = factors(tube(2.0, (0.0, 1.0, 0.0)))
    inside = np.abs(voxels.grid.points_mm(voxels.support)[:, 1]) < 15
    np.testing.assert_allclose(factor[inside], 1, atol=0.25)
    assert np.average(np.abs(factor[inside] - 1), weights=voxels.occupancy[inside]) < 0.06


def test_layering_grows_with_the_radius_and_falls_with_the_velocity():
    strength = [layering_strength(tube(radius), FLOW)[0] for radius in (0.5, 1.0, 1.5, 2.2, 4.0)]
    assert np.all(np.diff(strength) >= 0)
    assert strength[1] < 0.6 * strength[2] < strength[3] <= strength[4] == STRONGEST
    assert layering_strength(tube(1.5), replace(FLOW, velocity_mm_s=800.0))[0] < 0.5 * strength[2]


def test_a_layered_case_keeps_amount_and_arrival_of_the_standard_one():
    config = small_config(views=8)
    plain, layered = (
        simulate_case(replace(config, flow=replace(config.flow, model=model)), SilentProgress()).truth
        for model in ("transit", "layering")
    )
    np.testing.assert_array_equal(layered.arrival_s, plain.arrival_s)
    np.testing.assert_array_equal(layered.occupancy, plain.occupancy)
    total = [truth.volume.coefficients.sum(1, dtype=float) for truth in (plain, layered)]
    np.testing.assert_allclose(total[1], total[0], rtol=2e-3)
    assert np.abs(layered.clean_line_integrals - plain.clean_line_integrals).max() > 0.02
