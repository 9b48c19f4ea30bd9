"""The projector as a linear operator, for arrays, tensors and autograd."""

import numpy as np
import pytest
from helpers.projection import ANISOTROPIC_GRID, GEOMETRIES, oblique_geometry, random_arrays

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.kernels import raycast
from DSAReconLib.operators import ConeBeamProjector

torch = pytest.importorskip("torch")


@pytest.fixture
def projector():
    return ConeBeamProjector(ANISOTROPIC_GRID, oblique_geometry())


@pytest.fixture
def arrays():
    return random_arrays(ANISOTROPIC_GRID, oblique_geometry())


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_operator_and_transpose_are_adjoint(kind):
    projector = ConeBeamProjector(ANISOTROPIC_GRID, GEOMETRIES[kind]())
    assert projector.adjointness_error() < 1e-7
    assert projector.T.adjointness_error(seed=1) < 1e-7


def test_adjointness_error_notices_a_wrong_adjoint(projector, monkeypatch):
    right = projector.adjoint
    monkeypatch.setattr(projector, "adjoint", lambda y: right(y) * np.linspace(0.9, 1.1, 20, dtype=np.float32))
    assert projector.adjointness_error() > 1e-5


def test_shapes_and_transposes_are_those_of_a_matrix(projector):
    assert projector.domain_shape == (18, 22, 20)
    assert projector.range_shape == (7, 20, 24)
    assert projector.T.domain_shape == projector.range_shape
    assert projector.T.range_shape == projector.domain_shape
    assert projector.T.T is projector


def test_arrays_give_the_results_of_the_plain_functions(projector, arrays):
    x, y = arrays
    geometry = oblique_geometry()
    assert np.array_equal(projector(x), raycast.project(x, ANISOTROPIC_GRID, geometry))
    assert np.array_equal(projector.T(y), raycast.backproject(y, geometry, ANISOTROPIC_GRID))
    assert np.array_equal(projector.backproject_fdk(y), raycast.backproject_fdk(y, geometry, ANISOTROPIC_GRID))


def test_reused_buffers_leave_no_traces(projector, arrays):
    x, y = arrays
    first = projector(x), projector.T(y)
    projector(np.full_like(x, 100)), projector.T(np.full_like(y, 100))
    assert np.array_equal(projector(x), first[0])
    assert np.array_equal(projector.T(y), first[1])


def test_tensors_give_the_same_numbers_as_arrays(projector, arrays):
    x, y = arrays
    assert np.array_equal(projector(torch.from_numpy(x)).numpy(), projector(x))
    assert np.array_equal(projector.T(torch.from_numpy(y)).numpy(), projector.T(y))
    assert np.array_equal(projector.backproject_fdk(torch.from_numpy(y)).numpy(), projector.backproject_fdk(y))


def test_views_of_an_operator_are_its_rows(projector, arrays):
    x, _ = arrays
    whole = projector(x)
    for views in (slice(None, None, 2), [6, 0, 0], 3):
        part = projector[views]
        assert np.array_equal(part(x), np.atleast_3d(whole[views]).reshape(part.range_shape))
        assert part.geometry == projector.geometry[views]
        assert part.adjointness_error() < 1e-6
    assert len(projector[1:4]) == 3


def test_gradient_of_least_squares_is_the_adjoint_of_the_residual(projector, arrays):
    x, y = (torch.from_numpy(each) for each in arrays)
    x.requires_grad_()
    (0.5 * ((projector(x) - y) ** 2).sum()).backward()
    expected = projector.T(projector(x.detach()) - y)
    assert torch.equal(x.grad, expected)


def test_gradient_flows_through_the_adjoint_too(projector, arrays):
    x, y = (torch.from_numpy(each) for each in arrays)
    y.requires_grad_()
    (projector.T(y) * x).sum().backward()
    torch.testing.assert_close(y.grad, projector(x))


def test_gradients_can_be_differentiated_again(projector, arrays):
    x = torch.from_numpy(arrays[0]).requires_grad_()
    (gradient,) = torch.autograd.grad((projector(x) ** 2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(second, 2 * projector.T(projector(torch.ones_like(x))), rtol=1e-4, atol=1e-2)


def test_gradcheck_in_float64():
    geometry = GEOMETRIES["wide"](shape=(3, 4))
    projector = ConeBeamProjector(VolumeGrid.centered((3, 4, 5), 12.0), geometry)
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal(projector.domain_shape), requires_grad=True)
    y = torch.tensor(rng.standard_normal(projector.range_shape), requires_grad=True)
    assert torch.autograd.gradcheck(projector, x)
    assert torch.autograd.gradcheck(projector.T, y)


def test_tensors_that_are_not_contiguous_are_accepted(projector, arrays):
    x = torch.from_numpy(arrays[0])
    assert torch.equal(projector(x.permute(2, 1, 0).contiguous().permute(2, 1, 0)), projector(x))
    gradient = torch.ones(1).expand(projector.range_shape)
    assert projector.T(gradient).shape == projector.domain_shape


def test_float64_arrays_are_computed_in_float32(projector, arrays):
    assert projector(arrays[0].astype(float)).dtype == np.float32


def test_wrong_shapes_are_refused_for_arrays_and_tensors(projector):
    for wrong in (np.zeros((2, 3, 4)), torch.zeros(2, 3, 4)):
        with pytest.raises(ValueError, match=r"volume must have shape \(18, 22, 20\); got \(2, 3, 4\)"):
            projector(wrong)
        with pytest.raises(ValueError, match=r"projections must have shape"):
            projector.T(wrong)


def test_values_that_are_not_finite_are_refused_for_tensors_on_the_cpu(projector, arrays):
    x = torch.from_numpy(arrays[0])
    x[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="volume must be finite"):
        projector(x)
