"""Random Gaussians on oblique views, and their images by the torch reference."""

import numpy as np

from DSAReconLib.geometry import ConeBeamGeometry


def oblique_geometry(views=3, size=40):
    return ConeBeamGeometry.from_angles(
        np.linspace(-70, 60, views), np.linspace(-15, 20, views), sod_mm=300.0, sdd_mm=500.0,
        detector_shape=(size, size + 6), detector_spacing_mm=(1.1, 1.2), principal_point_px=(18.0, 24.5), roll_deg=7.0,
    )  # fmt: skip


def random_gaussians(rng, count=30, views=3):
    return (
        rng.uniform(-8, 8, (count, 3)).astype(np.float32),
        rng.uniform(0.8, 3.0, (count, 3)).astype(np.float32),
        rng.normal(size=(count, 4)).astype(np.float32),
        rng.uniform(0.005, 0.05, (views, count)).astype(np.float32),
    )


def reference_images(means, scales, quats, amplitudes, geometry, **options):
    import torch

    from DSAReconLib.kernels.splat import reference

    rows, columns = geometry.detector_shape
    corner = (
        geometry.detector_center_mm
        - (columns - 1) / 2 * geometry.detector_u_mm
        - (rows - 1) / 2 * geometry.detector_v_mm
    )
    images = [
        reference.splat_view(
            means, scales, quats, amplitudes[view],
            source=torch.tensor(geometry.source_mm[view]), pixel00=torch.tensor(corner[view]),
            step_u=torch.tensor(geometry.detector_u_mm[view]), step_v=torch.tensor(geometry.detector_v_mm[view]),
            shape=(rows, columns), cutoff_sigma=3.0, **options,
        )
        for view in range(len(geometry))
    ]  # fmt: skip
    return torch.stack(images)


def assert_gradients_agree(ours, theirs, *, error=3e-4, bias=2e-4):
    """Relative L2 error, cosine and bias of every gradient of a SplatGradients."""
    for name, fast, exact in zip(ours._fields, ours, theirs, strict=True):
        difference = np.linalg.norm(fast - exact) / np.linalg.norm(exact)
        cosine = (fast * exact).sum() / np.linalg.norm(fast) / np.linalg.norm(exact)
        offset = abs((fast - exact).mean()) / np.abs(exact).mean()
        assert difference < error, f"{name}: relative L2 error {difference:.2e}"
        assert cosine > 1 - 1e-7, f"{name}: cosine {cosine}"
        assert offset < bias, f"{name}: bias {offset:.2e}"
