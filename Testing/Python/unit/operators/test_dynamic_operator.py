"""Projecting volumes that are mixed over time, view by view."""

import numpy as np
import pytest
from helpers.projection import ANISOTROPIC_GRID, GEOMETRIES, wide_geometry

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels import raycast
from DSAReconLib.operators import ConeBeamProjector
from DSAReconLib.operators.dynamic import DynamicConeBeamProjector
from DSAReconLib.reconstruction import TemporalBasis

torch = pytest.importorskip("torch")
KNOTS = 3


def weights_of(geometry):
    """Linear interpolation in time; one view before the contrast agent arrives sees nothing."""
    weights = TemporalBasis.hats(np.arange(KNOTS)).at(np.linspace(0, KNOTS - 1, len(geometry)))
    weights[1] = 0
    return weights


def operator(kind):
    geometry = GEOMETRIES[kind]()
    return DynamicConeBeamProjector(ANISOTROPIC_GRID, geometry, weights_of(geometry)), geometry


def coefficients(seed=0):
    return np.random.default_rng(seed).standard_normal((KNOTS, *ANISOTROPIC_GRID.shape_zyx), np.float32)


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_each_view_sees_its_own_mixture(kind):
    projector, geometry = operator(kind)
    x = coefficients()
    mixed = np.tensordot(weights_of(geometry), x, 1)
    static = ConeBeamProjector(ANISOTROPIC_GRID, geometry)
    expected = np.concatenate([static[view](mixed[view]) for view in range(len(geometry))])
    np.testing.assert_allclose(projector(x), expected, atol=1e-5 * np.abs(expected).max())
    assert not projector(x)[1].any()


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_dynamic_operator_and_transpose_are_adjoint(kind):
    projector, _ = operator(kind)
    assert projector.adjointness_error() < 1e-7
    assert projector[2:].T.adjointness_error() < 1e-6


def test_plain_functions_equal_the_operator():
    projector, geometry = operator("oblique")
    x, weights = coefficients(), weights_of(geometry)
    y = raycast.project_dynamic(x, weights, ANISOTROPIC_GRID, geometry)
    assert np.array_equal(y, projector(x))
    assert np.array_equal(raycast.backproject_dynamic(y, weights, geometry, ANISOTROPIC_GRID), projector.T(y))


def test_views_of_a_dynamic_operator_are_its_rows():
    projector, _ = operator("oblique")
    x = coefficients()
    assert np.array_equal(projector[[4, 2]](x), projector(x)[[4, 2]])
    assert np.array_equal(projector[3](x), projector(x)[3:4])
    assert len(projector[::2]) == 4


def test_dynamic_gradient_is_the_adjoint_of_the_residual():
    projector, _ = operator("oblique")
    x = torch.from_numpy(coefficients()).requires_grad_()
    (0.5 * (projector(x) ** 2).sum()).backward()
    assert torch.equal(x.grad, projector.T(projector(x.detach())))


def test_dynamic_gradcheck_in_float64():
    geometry = wide_geometry(shape=(2, 3))
    projector = DynamicConeBeamProjector(VolumeGrid.centered((3, 4, 2), 12.0), geometry, weights_of(geometry))
    x = torch.randn(projector.domain_shape, dtype=torch.float64, requires_grad=True)
    y = torch.randn(projector.range_shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(projector, x)
    assert torch.autograd.gradcheck(projector.T, y)


def test_torch_takes_over_dynamic_projection_where_numba_is_missing(monkeypatch):
    projector, _ = operator("rotational")
    x = coefficients()
    y = projector(x)
    aty = projector.T(y)
    monkeypatch.setenv("DSARECON_CPU_KERNELS", "torch")
    np.testing.assert_allclose(projector(x), y, atol=1e-4 * np.abs(y).max())
    np.testing.assert_allclose(projector.T(y), aty, atol=1e-4 * np.abs(aty).max())


def test_weights_without_one_row_per_view_are_refused():
    geometry = wide_geometry()
    with pytest.raises(ValueError, match=r"weights must have shape \(4, K\); got \(3, 4\)"):
        DynamicConeBeamProjector(ANISOTROPIC_GRID, geometry, np.ones((3, 4)))
