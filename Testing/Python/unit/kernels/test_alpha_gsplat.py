"""Projection, compositing, gradients and harmonics equal to stored values of gsplat 1.6.0 (see Testing/Data)."""

from pathlib import Path

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.alpha import AlphaComposite
from DSAReconLib.kernels.alpha.harmonics import harmonics

STORED = Path(__file__).parents[3] / "Data" / "gsplat_1_6_0.npz"


@pytest.fixture(scope="module")
def stored():
    with np.load(STORED) as data:
        return {name: data[name] for name in data.files}


def pinhole_geometry(stored):
    """The stored cameras; gsplat's pixel centers lie at +0.5."""
    intrinsics = stored["intrinsics"].copy()
    intrinsics[:, :2, 2] -= 0.5
    matrices = intrinsics @ stored["world_to_camera"][:, :3]
    return ConeBeamGeometry.from_projection_matrices(matrices, tuple(stored["detector_shape"]), sdd_mm=500.0)


def shape_of(stored):
    return stored["means_mm"], stored["scales_mm"], stored["quats_wxyz"]


def composite(stored):
    return AlphaComposite(*shape_of(stored), stored["opacities"], stored["colors"], pinhole_geometry(stored))


def test_the_stored_scene_has_covered_pixels_and_nearly_transparent_gaussians(stored):
    assert stored["transmittance"].min() < 2e-4
    assert stored["opacities"].min() < 0.05
    assert stored["opacities"].max() > 0.99


def test_projected_centers_conics_and_depths(stored):
    torch = pytest.importorskip("torch")
    from DSAReconLib.kernels.alpha import reference

    geometry = pinhole_geometry(stored)
    for view, matrix in enumerate(geometry.projection_matrices):
        arguments = [torch.tensor(array, dtype=torch.float64) for array in (*shape_of(stored), matrix)]
        centers, conics, depths = reference.project(*arguments, geometry.detector_shape)
        np.testing.assert_allclose(centers.numpy() + 0.5, stored["centers_px"][view], atol=1e-4)
        np.testing.assert_allclose(conics.numpy(), stored["conics"][view], atol=1e-6, rtol=1e-4)
        np.testing.assert_allclose(depths.numpy(), stored["depths_mm"][view], rtol=1e-6)


def test_images_and_transmittance(stored):
    pytest.importorskip("numba")
    ours = composite(stored)
    np.testing.assert_allclose(ours.images, stored["images"], atol=1e-4)
    np.testing.assert_allclose(ours.transmittance, stored["transmittance"], atol=1e-4)


def test_gradients(stored):
    pytest.importorskip("numba")
    ours = composite(stored).adjoint(stored["gradient"])
    pairs = (
        (ours.means_mm, stored["means_gradient"]),
        (ours.scales_mm, stored["scales_gradient"]),
        (ours.quats_wxyz, stored["quats_gradient"]),
        (ours.opacities.sum(0), stored["opacities_gradient"]),
    )
    for found, expected in pairs:
        assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("degree", range(4))
def test_harmonics(stored, degree):
    camera = stored["world_to_camera"][0]
    source = -camera[:3, :3].T @ camera[:3, 3]
    direction = stored["means_mm"] - source
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    basis = np.stack(harmonics(direction, degree), -1)
    values = (basis * stored["harmonic_coefficients"][:, : basis.shape[1]]).sum(1)
    np.testing.assert_allclose(values, stored["harmonic_values_by_degree"][degree], atol=1e-5)


def test_harmonics_are_orthonormal():
    points, weights = np.polynomial.legendre.leggauss(8)
    angles = 2 * np.pi * np.arange(16) / 16
    z, angle = (grid.ravel() for grid in np.meshgrid(points, angles, indexing="ij"))
    radius = np.sqrt(1 - z**2)
    basis = np.stack(harmonics(np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1), 3))
    weight = np.repeat(weights, 16) * 2 * np.pi / 16
    np.testing.assert_allclose((basis * weight) @ basis.T, np.eye(16), atol=1e-12)


def test_a_higher_degree_than_three_is_refused():
    with pytest.raises(ValueError, match="between 0 and 3"):
        harmonics(np.eye(3), 4)
