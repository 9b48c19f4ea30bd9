"""Pictures of one view, CPU and CUDA kernels, against splatting of many views."""

import shutil

import numpy as np
import pytest
from helpers.cuda_on_cpu import cpu_launcher
from helpers.requires import requires_cuda, requires_nvrtc

from DSAReconLib.errors import DependencyError
from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.kernels.cuda import nvrtc
from DSAReconLib.kernels.cuda.launch import source_text
from DSAReconLib.kernels.cuda.splat import DeviceScene
from DSAReconLib.kernels.splat import splat_xray
from DSAReconLib.kernels.splat.scene import SplatScene


def geometry(shape=(40, 47), spacing=1.1):
    return ConeBeamGeometry.from_angles(
        35.0, -20.0, sod_mm=300.0, sdd_mm=500.0, detector_shape=shape,
        detector_spacing_mm=(spacing, 1.2), principal_point_px=(18.0, 24.5), roll_deg=7.0,
    )  # fmt: skip


def gaussians(count=400, largest=3.0, spread=15.0, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.uniform(-spread, spread, (count, 3)).astype(np.float32),
        rng.uniform(0.1, largest, (count, 3)).astype(np.float32),
        rng.normal(size=(count, 4)).astype(np.float32),
        rng.uniform(0.005, 0.05, count).astype(np.float32),
    )


def scene_on(device, arrays):
    scene = SplatScene(*arrays[:3])
    if device == "cuda text on the cpu":
        pytest.importorskip("torch")
        if shutil.which("g++") is None:
            pytest.skip("needs g++")
        scene._device = DeviceScene(scene._kernels, "cpu", cpu_launcher("splat.cu"))
    return scene


def assert_equal_up_to_the_edge_of_footprints(picture, expected):
    """A rounding error moves a pixel in or out of a footprint, where this is worth 1 % of one Gaussian's peak."""
    assert np.linalg.norm(picture - expected) < 1e-4 * np.linalg.norm(expected)
    assert np.abs(picture - expected).max() < 2e-3 * expected.max()


devices = pytest.mark.parametrize("device", ["cpu", "cuda text on the cpu"])


@devices
@pytest.mark.parametrize(
    ("count", "largest", "spread"), [(400, 3.0, 15.0), (3000, 0.3, 40.0), (30, 25.0, 15.0), (0, 1.0, 1.0)]
)
def test_picture_equals_splatting_with_the_area_of_pixels(device, count, largest, spread):
    arrays = gaussians(count, largest, spread)
    expected = splat_xray(*arrays, geometry(), pixel_box=True)[0]
    picture = scene_on(device, arrays).render(arrays[3], geometry())
    assert picture.dtype == np.float32
    if count:
        assert_equal_up_to_the_edge_of_footprints(picture, expected)
    else:
        assert not picture.any()


@devices
def test_pictures_do_not_depend_on_earlier_ones(device):
    arrays = gaussians()
    scene = scene_on(device, arrays)
    first = scene.render(arrays[3], geometry())
    scene.render(2 * arrays[3], geometry((25, 90), 0.4))
    np.testing.assert_allclose(scene.render(arrays[3], geometry()), first, rtol=2e-5)
    np.testing.assert_allclose(scene.render(3 * arrays[3], geometry()), 3 * first, rtol=2e-5)


@devices
def test_a_very_far_source_gives_the_parallel_projection(device):
    arrays = gaussians(200)
    far = 1e6
    steps = np.array([[[0.8, 0.0, 0.0]], [[0.0, 0.0, -0.8]]])
    view = ConeBeamGeometry([[0.0, far, 0.0]], [[0.0, 0.0, 0.0]], *steps, detector_shape=(48, 48))
    picture = scene_on(device, arrays).render(arrays[3], view)
    assert_equal_up_to_the_edge_of_footprints(picture, splat_xray(*arrays, view, pixel_box=True)[0])


@devices
def test_kernels_around_or_behind_the_source_are_left_out(device):
    arrays = gaussians(50)
    view = geometry()
    around, behind = arrays[0].copy(), arrays[0].copy()
    around[0] = view.source_mm[0] + [0.05, 0.05, 0.0]
    behind[0] = 1.2 * view.source_mm[0]
    rest = tuple(array[1:] for array in arrays)
    expected = scene_on(device, rest).render(rest[3], view)
    for means in (around, behind):
        moved = (means, *arrays[1:])
        np.testing.assert_allclose(scene_on(device, moved).render(arrays[3], view), expected, rtol=2e-5)


def test_picture_goes_into_the_array_that_is_given():
    arrays = gaussians()
    out = np.full((40, 47), 7, np.float32)
    picture = SplatScene(*arrays[:3]).render(arrays[3], geometry(), out)
    assert picture is out
    np.testing.assert_array_equal(out, SplatScene(*arrays[:3]).render(arrays[3], geometry()))


def test_unusable_arguments_are_refused():
    arrays = gaussians()
    scene = SplatScene(*arrays[:3])
    with pytest.raises(ValueError, match="amplitudes"):
        scene.render(arrays[3][1:], geometry())
    with pytest.raises(ValueError, match="one view"):
        scene.render(arrays[3], geometry()[[0, 0]])
    with pytest.raises(ValueError, match="out"):
        scene.render(arrays[3], geometry(), np.zeros((40, 46), np.float32))
    with pytest.raises(ValueError, match="scales_mm"):
        SplatScene(arrays[0], 0 * arrays[1], arrays[2])


def test_without_numba_the_cpu_is_refused_with_a_hint(monkeypatch):
    monkeypatch.setenv("DSARECON_CPU_KERNELS", "torch")
    with pytest.raises(DependencyError, match="numba"):
        SplatScene(*gaussians()[:3])


@requires_nvrtc
@pytest.mark.parametrize("capability", [75, 90, 120])
def test_kernels_compile_for_architecture(capability):
    code = nvrtc.load_nvrtc().compile(source_text("splat.cu"), capability)
    assert b"splat_view" in code
    assert b"scale_by_ray_lengths" in code


@requires_cuda
def test_a_gpu_gives_the_picture_of_the_cpu():
    arrays = gaussians()
    scene = SplatScene(*arrays[:3], device="cuda:0")
    assert_equal_up_to_the_edge_of_footprints(
        scene.render(arrays[3], geometry()), SplatScene(*arrays[:3]).render(arrays[3], geometry())
    )
