"""Cases in the layouts of 4DRGS, VPAL and TOGS: round trips, what the files hold, and errors that name file and key."""

import json
from pathlib import Path

import numpy as np
import pytest

from DSAReconLib.errors import DatasetError, GeometryError
from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.geometry.interop.blender import LAYOUT_FROM_LPS, cameras_from_geometry, geometry_from_cameras
from DSAReconLib.io.datasets import find_dataset, read_dataset
from DSAReconLib.io.datasets.fourdrgs import write_fourdrgs
from DSAReconLib.io.datasets.images import read_picture
from DSAReconLib.io.datasets.obj import read_obj
from DSAReconLib.io.datasets.togs import write_togs
from DSAReconLib.io.mesh import Surface

GRID = VolumeGrid.centered((9, 11, 13), (0.5, 0.75, 1.0))
TIMES = np.array([0.0, 0.1, 0.25, 0.3, 0.5])
TETRAHEDRON = Surface(
    np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]], np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
    {},
)


def _geometry(**changes):
    values = {"sod_mm": 745.3, "sdd_mm": 1190.7, "detector_shape": (10, 14), "detector_spacing_mm": (1.6, 1.6)}
    return ConeBeamGeometry.from_angles(np.linspace(-100, 97.3, 5), 7.7, **{**values, **changes})


def _frames(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(800, 5000, (5, 10, 14)).astype(np.float32)


def _signed_volume(surface):
    corners = surface.vertices_mm[surface.triangles].astype(float)
    return np.einsum("ti,ti->t", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6


@pytest.fixture
def fourdrgs(tmp_path):
    write_fourdrgs(tmp_path, _frames(1), _geometry(), TIMES, GRID, mask=_frames(0), reference=TETRAHEDRON)
    return tmp_path


@pytest.fixture
def togs(tmp_path):
    line_integrals = np.random.default_rng(2).uniform(-0.05, 1.3, (5, 10, 14)).astype(np.float32)
    write_togs(tmp_path, line_integrals, _geometry(), TIMES, np.array([0, 2, 4]))
    return tmp_path, line_integrals


def _edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


# ------------------------------------------------------------------ 4DRGS, VPAL
def test_4drgs_case_comes_back_as_it_was_written(fourdrgs):
    case = read_dataset(fourdrgs)
    np.testing.assert_array_equal(case.mask_run.intensity, _frames(0))
    np.testing.assert_array_equal(case.fill_run.intensity, _frames(1))
    assert case.fill_run.geometry.isclose(_geometry(), 1e-9)
    assert case.mask_run.geometry.isclose(_geometry(), 1e-9)
    assert case.grid.isclose(GRID, 1e-9)
    np.testing.assert_array_equal(case.fill_run.times_s, TIMES)
    assert not case.fill_run.warnings


def test_reference_mesh_is_in_voxel_indices_and_comes_back_in_mm_with_its_outside_outside(fourdrgs):
    indices, _ = read_obj(fourdrgs / "mesh_ref.obj")
    # isocenter = middle voxel; 2 mm along LPS x is the layout's second axis, spacing 0.5 mm
    np.testing.assert_allclose(indices[0], [5, 6, 4], atol=1e-9)
    np.testing.assert_allclose(indices[1] - indices[0], [0, 4, 0], atol=1e-9)
    again = read_dataset(fourdrgs).reference
    np.testing.assert_allclose(again.vertices_mm, TETRAHEDRON.vertices_mm, atol=1e-6)
    assert _signed_volume(again) == pytest.approx(_signed_volume(TETRAHEDRON))
    assert _signed_volume(again) > 0


def test_subtracted_case_is_clipped_and_gives_its_line_integrals_back_unregistered(tmp_path):
    from DSAReconLib.acquisition.subtraction import subtract

    rows, columns = np.mgrid[:10, :14]
    line_integrals = np.stack([np.sin(0.2 * rows + 0.15 * columns + view) for view in range(5)]).astype(np.float32)
    write_fourdrgs(tmp_path, line_integrals, _geometry(), TIMES, GRID)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proj.nii.gz", "transforms.json"]
    case = read_dataset(tmp_path)
    angiogram = subtract(case.mask_run, case.fill_run, register="rigid")
    np.testing.assert_allclose(angiogram.line_integrals, np.maximum(line_integrals, 0), atol=1e-3)
    assert not angiogram.warnings


def test_case_without_our_times_gets_assumed_ones_and_says_so(fourdrgs):
    _edit(fourdrgs / "transforms.json", lambda data: data.pop("dsarecon"))
    run = read_dataset(fourdrgs).fill_run
    np.testing.assert_allclose(run.times_s, np.arange(5) / 30)
    assert [code for code, _ in run.warnings] == ["dataset.times"]


def test_runs_are_identified_by_their_content(fourdrgs, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_fourdrgs(other, _frames(1) + 1, _geometry(), TIMES, GRID, mask=_frames(0))
    first, second = read_dataset(fourdrgs), read_dataset(other)
    assert first.mask_run.sop_instance_uid == second.mask_run.sop_instance_uid
    assert first.fill_run.sop_instance_uid != second.fill_run.sop_instance_uid
    assert len(first.fill_run.sop_instance_uid) <= 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("sad"), "'sad'"),
        (lambda d: d.update(sid="far"), "'sid'"),
        (lambda d: d.update(proj_resolution=[14]), "'proj_resolution'"),
        (lambda d: d.update(volume_spacing=[1, 1, -1]), "'volume_spacing'"),
        (lambda d: d.update(frames=[]), "'frames'"),
        (lambda d: d.update(N_views=9), "'N_views'"),
        (lambda d: d["frames"][2].pop("PrimaryAngle"), "'PrimaryAngle'"),
        (lambda d: d["frames"][2].update(SecondaryAngle=None), "'SecondaryAngle'"),
        (lambda d: d.update(proj_resolution=[10, 14]), "proj_resolution"),
        (lambda d: d["dsarecon"].update(times_s=[1, 2]), "'times_s'"),
        (lambda d: d["dsarecon"].update(times_s=[5, 4, 3, 2, 1]), "'times_s'"),
        (lambda d: d.update(dsarecon=3), "'dsarecon'"),
        (lambda d: d.update(sad=2000), "sod_mm"),
    ],
)
def test_wrong_transforms_name_file_and_key(fourdrgs, change, words):
    _edit(fourdrgs / "transforms.json", change)
    with pytest.raises(DatasetError, match=words) as caught:
        read_dataset(fourdrgs)
    assert "transforms.json" in caught.value.message


def test_missing_and_damaged_files_are_named(fourdrgs):
    (fourdrgs / "fill_run.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"fill_run\.nii\.gz"):
        read_dataset(fourdrgs)
    (fourdrgs / "fill_run.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"proj\.nii\.gz"):
        read_dataset(fourdrgs)
    (fourdrgs / "transforms.json").write_text("{")
    with pytest.raises(DatasetError, match=r"transforms\.json"):
        read_dataset(fourdrgs)


@pytest.mark.parametrize("text", ["v 1 2\n", "v 0 0 0\nf 1 2 3\n", "f a b c\n", ""])
def test_damaged_meshes_are_named(fourdrgs, text):
    (fourdrgs / "mesh_ref.obj").write_text(text)
    with pytest.raises(DatasetError, match=r"mesh_ref\.obj"):
        read_dataset(fourdrgs)


# ------------------------------------------------------------------ TOGS, D-NeRF
def test_togs_case_comes_back_within_half_a_grey_step(togs):
    folder, line_integrals = togs
    case = read_dataset(folder)
    assert case.fill_run.geometry.isclose(_geometry(), 1e-9)
    np.testing.assert_array_equal(case.fill_run.times_s, TIMES)
    np.testing.assert_array_equal(case.training, [0, 2, 4])
    step = line_integrals.max() / 255
    again = -np.log(case.fill_run.intensity)
    np.testing.assert_allclose(again, np.maximum(line_integrals, 0), atol=0.51 * step)
    assert (case.mask_run.intensity == 1).all()
    assert not case.fill_run.warnings


def test_togs_files_hold_what_their_loader_expects(togs):
    folder, line_integrals = togs
    train = json.loads((folder / "transforms_train.json").read_text())
    test = json.loads((folder / "transforms_test.json").read_text())
    assert train["camera_angle_x"] == pytest.approx(2 * np.arctan(14 * 1.6 / (2 * 1190.7)))
    assert [frame["time"] for frame in train["frames"]] == [0.0, 0.4, 0.8]
    assert [frame["time"] for frame in test["frames"]] == [0.2, 0.6]
    grey = read_picture(folder / (train["frames"][1]["file_path"] + ".png"))
    assert grey.shape == (10, 14)
    frame = line_integrals[2]
    assert grey.flat[frame.argmax()] < 0.05  # contrast is dark
    assert grey.flat[frame.argmin()] == 1


def test_cameras_are_those_of_the_published_formula():
    primary, secondary = np.deg2rad([30.0]), np.deg2rad(20.0)
    geometry = ConeBeamGeometry.from_angles(
        [30.0], 20.0, sod_mm=598.5, sdd_mm=1197.0, detector_shape=(8, 8), detector_spacing_mm=(2.0, 2.0)
    )
    (cp,), (sp,), cs, ss = np.cos(primary), np.sin(primary), np.cos(secondary), np.sin(secondary)
    flip = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
    turn = np.array([[cp, 0, -sp, 0], [0, 1, 0, 0], [sp, 0, cp, 0], [0, 0, 0, 1]])
    tilt = np.array([[1, 0, 0, 0], [0, cs, -ss, 0], [0, ss, cs, 0], [0, 0, 0, 1]])
    back = np.eye(4)
    back[2, 3] = 0.5985
    _, matrices = cameras_from_geometry(geometry)
    np.testing.assert_allclose(matrices[0], flip @ turn @ tilt @ back, atol=1e-12)
    assert np.linalg.det(matrices[0, :3, :3]) == pytest.approx(1)


def test_a_point_is_seen_at_the_same_pixel_through_camera_and_geometry():
    geometry = _geometry()
    angle, matrices = cameras_from_geometry(geometry)
    point = np.array([12.0, -7.0, 3.0])
    pixels, _ = geometry.project_points(point[None])
    focal = 14 / 2 / np.tan(angle / 2)
    for view, matrix in enumerate(matrices):
        x, y, z, _ = np.linalg.inv(matrix) @ [*(LAYOUT_FROM_LPS @ point / 1000), 1]
        seen = [4.5 + focal * y / z, 6.5 - focal * x / z]  # the camera looks along -z, y is up
        np.testing.assert_allclose(seen, pixels[view, 0], atol=1e-9)


def test_foreign_togs_case_gets_assumed_scales_but_exact_rays(togs):
    folder, _ = togs
    for name in ("train", "test"):
        _edit(folder / f"transforms_{name}.json", lambda data: data.pop("dsarecon"))
    run = read_dataset(folder).fill_run
    assert {code for code, _ in run.warnings} == {"dataset.times", "dataset.scale"}
    points = np.array([[10.0, 4.0, -3.0]])
    np.testing.assert_allclose(run.geometry.project_points(points)[0], _geometry().project_points(points)[0], atol=1e-9)
    assert (-np.log(run.intensity)).max() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"detector_spacing_mm": (1.6, 1.5)}, {"principal_point_px": (3, 7)}, {"sdd_mm": np.linspace(1190, 1200, 5)}],
)
def test_cameras_refuse_what_they_cannot_hold(change):
    with pytest.raises(GeometryError, match="centered detectors"):
        cameras_from_geometry(_geometry(**change))


def test_cameras_hold_rolls_and_varying_distances_of_the_isocenter():
    geometry = _geometry(roll_deg=3.0, sod_mm=np.linspace(740, 760, 5))
    angle, matrices = cameras_from_geometry(geometry)
    assert geometry_from_cameras(angle, matrices, (10, 14), sdd_mm=1190.7).isclose(geometry, 1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("camera_angle_x"), "'camera_angle_x'"),
        (lambda d: d.update(camera_angle_x=4.0), "camera_angle_x"),
        (lambda d: d["frames"][0].pop("file_path"), "'file_path'"),
        (lambda d: d["frames"][0].update(file_path="./train/gone"), r"gone\.png"),
        (lambda d: d["frames"][0].pop("time"), "'time'"),
        (lambda d: d["frames"][0].update(transform_matrix=[[1, 2], [3]]), "'transform_matrix'"),
        (lambda d: d["frames"][0].update(transform_matrix=np.zeros((4, 4)).tolist()), "transform_matrix"),
        (lambda d: d["dsarecon"].update(black_line_integral=0), "'black_line_integral'"),
        (lambda d: d["dsarecon"].update(sdd_mm=[1]), "'sdd_mm'"),
    ],
)
def test_wrong_camera_files_name_file_and_key(togs, change, words):
    folder, _ = togs
    _edit(folder / "transforms_train.json", change)
    with pytest.raises(DatasetError, match=words):
        read_dataset(folder)


def test_pictures_of_other_programs_may_have_colors_transparency_and_16_bits(tmp_path):
    import SimpleITK

    def written(name, pixels, vector):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=vector), str(tmp_path / name))
        return read_picture(tmp_path / name)

    color = np.zeros((2, 2, 4), np.uint8)
    color[0, 0] = [51, 102, 153, 255]
    np.testing.assert_allclose(written("rgba.png", color, True), [[0.4, 1], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(written("rgb.png", color[..., :3], True), [[0.4, 0], [0, 0]], atol=1e-6)
    assert written("deep.png", np.full((2, 2), 13107, np.uint16), False)[0, 0] == pytest.approx(0.2)


# ------------------------------------------------------------------ which paths are data sets
def test_folders_and_their_json_files_are_found_and_others_are_not(togs, tmp_path_factory):
    folder, _ = togs
    assert find_dataset([folder]) == folder
    assert find_dataset([str(folder / "transforms_test.json")]) == folder
    assert find_dataset([tmp_path_factory.mktemp("empty")]) is None
    assert find_dataset([]) is None


def test_a_case_beside_other_paths_is_refused(togs):
    folder, _ = togs
    with pytest.raises(DatasetError, match="case by itself"):
        find_dataset([folder, Path("/nowhere/fill.dcm")])
