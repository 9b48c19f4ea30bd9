"""The transit method on its CUDA kernels: the same result as on the CPU, the same again when repeated."""

import numpy as np
import pytest
from helpers.cases import small_case
from helpers.sparse_kernels import cuda_kernels

from DSAReconLib.acquisition.subtraction import subtract
from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.kernels.sparse.backend import CPU_KERNELS
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.transit import reconstruct as stages
from DSAReconLib.progress import SilentProgress

pytest.importorskip("torch")
QUICK = {"epochs": 4, "full_steps": 2, "refine_steps": 12, "spacing_min_mm": 1.2}


@pytest.fixture(name="angiogram", scope="module")
def simulated_case():
    mask, fill, _ = small_case(seed=1, views=16, detector=48)
    return subtract(mask, fill)


def run(angiogram, *, device="cpu", checkpoint=None, **overrides):
    config = build_config("transit", "balanced", QUICK | overrides)
    grid = angiogram.geometry.field_of_view_grid(spacing_mm=1.0)
    return stages.reconstruct(angiogram, grid, config, device=device, progress=SilentProgress(), checkpoint=checkpoint)


@pytest.fixture(name="on_cpu", scope="module")
def reconstructed_on_the_cpu(angiogram):
    return run(angiogram)


@pytest.fixture(name="launches", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def cuda_for_every_job(request, monkeypatch):
    """Names of the CUDA kernels that started, on a GPU or as text on the CPU; jobs ask for ``"cuda"`` either way."""
    kernels, started = cuda_kernels(request.param), []
    launch = kernels._launch

    def noted(name, *arguments):
        started.append(name)
        launch(name, *arguments)

    monkeypatch.setattr(kernels, "_launch", noted)
    monkeypatch.setattr(stages, "sparse_kernels", lambda device: {"cuda": kernels, "cpu": CPU_KERNELS}[device])
    return started


def curves_on_one_grid(result, grid):
    """Attenuation (T, z, y, x) at the voxel centers of a grid, 0 outside the result's own."""
    from scipy.ndimage import map_coordinates

    index = result.volume.grid.index_of(grid.points_mm()).T[::-1]
    return np.stack([map_coordinates(result.volume.at(time), index, order=1) for time in (0.8, 1.6, 2.4, 3.2, 4.0)])


def test_every_stage_on_cuda_gives_the_result_of_the_cpu(angiogram, on_cpu, launches):
    found = run(angiogram, device="cuda")
    grid = on_cpu.volume.grid
    expected, curves = curves_on_one_grid(on_cpu, grid), curves_on_one_grid(found, grid)
    assert expected.max() > 2 * on_cpu.surface_threshold
    assert np.linalg.norm(curves - expected) < 0.005 * np.linalg.norm(expected)
    assert found.surface_threshold == pytest.approx(on_cpu.surface_threshold, rel=0.01)
    assert found.facts["gaussians"] == pytest.approx(on_cpu.facts["gaussians"], rel=0.01)
    assert isinstance(found.gaussians.means_mm, np.ndarray)
    assert set(launches) >= {
        "score_windows",
        "splat_voxels",
        "gather_voxels",
        "accelerated_step",
        "proximal_step",
        "extrapolate",
        "render_gaussians",
        "gaussian_gradients",
        "adam_step",
        "read_nodes",
        "spread_to_nodes",
        "warped_curves",
        "warped_gradient",
    }


def test_two_runs_on_cuda_are_equal_to_the_last_bit(angiogram, launches):
    first, second = (run(angiogram, device="cuda", reweightings=0) for _ in range(2))
    np.testing.assert_array_equal(first.volume.coefficients, second.volume.coefficients)
    np.testing.assert_array_equal(first.gaussians.means_mm, second.gaussians.means_mm)


def test_what_a_run_on_cuda_saves_is_resumed_on_the_cpu(angiogram, on_cpu, launches, tmp_path):
    store = CheckpointStore(tmp_path / "state", interval_s=0.0)
    run(angiogram, device="cuda", checkpoint=store)
    launches.clear()
    resumed = run(angiogram, checkpoint=store)
    assert resumed.facts["gaussians"] == pytest.approx(on_cpu.facts["gaussians"], rel=0.01)
    assert not launches
