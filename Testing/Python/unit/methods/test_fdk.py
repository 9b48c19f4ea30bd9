import numpy as np
import pytest
from helpers.balls import FULL_TURN_DEG, OFF_CENTER_MM, SHORT_SCAN_DEG, angiogram, ball, c_arm, distance_mm

from DSAReconLib.errors import GeometryError, JobCancelled
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.methods.fdk.config import PRESETS, Config
from DSAReconLib.methods.fdk.reconstruct import reconstruct
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.progress import SilentProgress

GRID = VolumeGrid.centered(32, 4.0)


def volume_of(geometry: ConeBeamGeometry, line_integrals, *, grid=GRID, progress=None, variance=None, **config):
    views = angiogram(geometry, line_integrals, **({} if variance is None else {"variance": variance}))
    result = reconstruct(views, grid, Config(**config), device="cpu", progress=progress or SilentProgress())
    return result.volume.at(0.0), result


def middle(volume: np.ndarray, center_mm=(0.0, 0.0, 0.0)) -> float:
    return float(volume[distance_mm(GRID, center_mm) < 15].mean())


def jittered() -> np.ndarray:
    return np.sort(SHORT_SCAN_DEG + np.random.default_rng(0).uniform(-1.2, 1.2, len(SHORT_SCAN_DEG)))


@pytest.mark.parametrize(
    ("angles", "changes"),
    [
        (SHORT_SCAN_DEG, {}),
        (SHORT_SCAN_DEG[::-1], {}),
        (FULL_TURN_DEG, {}),
        (np.linspace(0, 360, 134), {}),
        (np.linspace(0, 270, 180), {}),
        (jittered(), {}),
        (SHORT_SCAN_DEG, {"secondary_deg": 15.0}),
        (SHORT_SCAN_DEG, {"principal_point_px": (27.0, 38.0)}),
        (SHORT_SCAN_DEG, {"roll_deg": 7.0}),
        (SHORT_SCAN_DEG, {"roll_deg": 90.0}),
        (np.linspace(-100, 100, 30), {}),
        (np.linspace(-100, 100, 10), {}),
    ],
    ids=["short", "reversed", "full", "closed", "270", "irregular", "tilt", "offset", "roll", "portrait", "30", "10"],
)
def test_a_ball_of_1_per_mm_comes_out_within_1_percent(angles, changes):
    geometry = c_arm(angles, **changes)
    volume, result = volume_of(geometry, ball(geometry, OFF_CENTER_MM))
    assert middle(volume, OFF_CENTER_MM) == pytest.approx(1, abs=0.01)
    assert result.warnings == ()


@pytest.mark.parametrize("window", ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"])
def test_the_window_does_not_change_the_level(window):
    geometry = c_arm(SHORT_SCAN_DEG[::2])
    volume, _ = volume_of(geometry, ball(geometry), window=window, cutoff=0.8)
    assert middle(volume) == pytest.approx(1, abs=0.01)


def test_doubled_contrast_doubles_attenuation_threshold_and_nothing_else():
    geometry = c_arm(SHORT_SCAN_DEG[::4])
    single, one = volume_of(geometry, ball(geometry, OFF_CENTER_MM))
    double, two = volume_of(geometry, 2 * ball(geometry, OFF_CENTER_MM))
    np.testing.assert_allclose(double, 2 * single, atol=1e-5)
    assert two.surface_threshold == pytest.approx(2 * one.surface_threshold, rel=1e-4)
    np.testing.assert_allclose(two.vessel_probability, one.vessel_probability, atol=1e-3)


def test_parker_weights_have_the_right_sign():
    """With the sign reversed an off-center ball is 1.7 % too bright and shaded."""
    geometry = c_arm(SHORT_SCAN_DEG)
    inside = distance_mm(GRID, OFF_CENTER_MM) < 25
    with_weights, _ = volume_of(geometry, ball(geometry, OFF_CENTER_MM))
    without, _ = volume_of(geometry, ball(geometry, OFF_CENTER_MM), parker=False)
    assert with_weights[inside].std() < 0.004 < without[inside].std()


def test_an_arc_below_half_a_turn_warns_and_keeps_the_level_roughly():
    geometry, progress = c_arm(np.linspace(0, 160, 107)), SilentProgress()
    volume, result = volume_of(geometry, ball(geometry), progress=progress)
    assert middle(volume) == pytest.approx(1, abs=0.05)
    assert [code for code, _ in progress.warnings] == ["fdk.short_arc"]
    assert result.warnings == tuple(progress.warnings)


def test_pixels_without_measurement_make_no_streaks():
    geometry = c_arm(SHORT_SCAN_DEG[::2])
    frames = ball(geometry)
    variance = np.full(frames.shape, 1e-4, np.float32)
    variance[:, :, :10] = variance[:, :, -10:] = np.inf  # shutters
    variance[:, :, 31:33] = np.inf  # dead columns
    spoiled = np.where(np.isinf(variance), 5.0, frames)
    spoiled[::3] = np.where(np.isinf(variance[::3]), np.nan, frames[::3])
    complete, _ = volume_of(geometry, frames)
    filled, _ = volume_of(geometry, spoiled, variance=variance)
    assert middle(filled) == pytest.approx(1, abs=0.02)
    seen = distance_mm(GRID) < 45
    assert np.abs(filled - complete)[seen].max() < 0.1
    assert np.isfinite(filled).all()


def test_negative_values_stay_unless_clipping_is_asked_for():
    geometry = c_arm(SHORT_SCAN_DEG[::6])
    kept, _ = volume_of(geometry, ball(geometry))
    clipped, _ = volume_of(geometry, ball(geometry), clip_negative=True)
    assert kept.min() < -0.01
    np.testing.assert_array_equal(clipped, np.maximum(kept, 0))


def test_volume_is_where_and_how_the_grid_says():
    geometry = c_arm(SHORT_SCAN_DEG[::2])
    grid = VolumeGrid((20, 24, 28), (2.0, 2.5, 3.0), (-10.0, -20.0, -15.0))
    volume, result = volume_of(geometry, ball(geometry, (22.0, 8.0, 4.0), 12.0), grid=grid)
    weight = np.where(volume > 0.5, volume, 0).ravel()
    np.testing.assert_allclose(weight @ grid.points_mm() / weight.sum(), [22, 8, 4], atol=0.3)
    assert result.volume.coefficients.dtype == np.float32
    assert len(result.volume.basis) == 1
    surface = volume > result.surface_threshold
    assert surface.sum() * 15 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.15)


def test_one_view_is_refused_and_cancelling_takes_effect():
    geometry = c_arm([0.0])
    with pytest.raises(GeometryError, match="at least 2 views"):
        volume_of(geometry, ball(geometry))

    class Cancelled(SilentProgress):
        def check_cancelled(self):
            raise JobCancelled

    geometry = c_arm([0.0, 90.0])
    with pytest.raises(JobCancelled):
        volume_of(geometry, ball(geometry), progress=Cancelled())


def test_presets_are_valid_configs():
    for preset in PRESETS:
        assert isinstance(build_config("fdk", preset), Config)
    assert build_config("fdk", "balanced", {"window": "cosine", "cutoff": "0.5", "parker": "false"}) == Config(
        window="cosine", cutoff=0.5, parker=False
    )
