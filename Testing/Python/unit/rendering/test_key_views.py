"""Key views: what is where, in which color, and what the captions say."""

import numpy as np
import pytest

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.rendering.key_views import key_views

pytest.importorskip("PIL")

GRID = VolumeGrid.centered(24, 2.0)
FRONTAL = ((0.0, 0.0),)


@pytest.fixture(scope="module")
def reference():
    return ConeBeamGeometry.from_angles(
        [-30.0, 30.0], sod_mm=750.0, sdd_mm=1200.0, detector_shape=(40, 60), detector_spacing_mm=(2.0, 2.0)
    )


@pytest.fixture(scope="module")
def balls():
    """An early ball on the patient's left and high, a late one right and low: peak and arrival times."""
    points = GRID.points_mm()
    early = np.linalg.norm(points - (12.0, 0.0, 10.0), axis=1) < 4
    late = np.linalg.norm(points - (-12.0, 0.0, -10.0), axis=1) < 4
    peak = np.where(early | late, 0.05, 0.0).astype(np.float32)
    arrival = np.full(len(points), np.nan, np.float32)
    arrival[early], arrival[late] = 0.5, 2.5
    return peak.reshape(GRID.shape_zyx), arrival.reshape(GRID.shape_zyx)


def test_the_frontal_view_has_the_patient_s_left_on_the_right_and_the_head_up(balls, reference):
    pictures, _ = key_views(*balls, GRID, reference, angles_deg=FRONTAL)
    middle = pictures[0][40:-40, :420].astype(int)
    blue = middle[..., 2] > middle[..., 0] + 40
    red = middle[..., 0] > middle[..., 2] + 40
    early_row, early_column = np.argwhere(blue).mean(0)
    late_row, late_column = np.argwhere(red).mean(0)
    assert early_column > late_column + 100
    assert early_row < late_row - 80


def test_pictures_keep_the_shape_of_the_field_of_view(balls, reference):
    pictures, _ = key_views(*balls, GRID, reference, angles_deg=FRONTAL)
    assert pictures.shape == (1, 341, 512, 3)


def test_captions_give_angles_and_the_range_of_times_in_ascii(balls, reference):
    pictures, captions = key_views(*balls, GRID, reference, angles_deg=((-45.0, 0.0), (0.0, -30.0)))
    assert len(pictures) == 2
    assert captions[0] == "RAO 45 CRA 0, color = arrival 0.50 to 2.50 s"
    assert captions[1].startswith("LAO 0 CAU 30")
    assert all(caption.isascii() for caption in captions)


def test_without_arrival_times_the_pictures_are_grey(balls, reference):
    peak, arrival = balls
    pictures, captions = key_views(peak, np.full_like(arrival, np.nan), GRID, reference, angles_deg=FRONTAL)
    assert np.ptp(pictures.astype(int), axis=-1).max() == 0
    assert pictures[0][40:-40].max() > 200
    assert captions == ["LAO 0 CRA 0"]


def test_the_note_is_written_at_the_bottom(balls, reference):
    plain, _ = key_views(*balls, GRID, reference, angles_deg=FRONTAL)
    noted, _ = key_views(*balls, GRID, reference, angles_deg=FRONTAL, note="research")
    rows = np.flatnonzero((plain != noted).any(axis=(0, 2, 3)))
    assert rows.size
    assert rows.min() > 300
