"""Runs to a real archive, back into a folder, through a reconstruction, and its results to the archive again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
import SimpleITK as sitk
from helpers.orthanc import DICOM_PORT, HTTP_PORT, PEER, ROOT, URL, Orthanc, client_environment, requires_orthanc
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, generate_uid

from DSAReconLib.cli.main import main
from DSAReconLib.dicom import read_run
from DSAReconLib.io.result_folder import open_result

pytestmark = pytest.mark.pacs
pytest.importorskip("dicomweb_client")
pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

NAME, PATIENT_ID = "Xylander^Quirina", "ZQ-4711-SECRET"
DIMSE = ("--dimse", PEER, "--called-aet", "ORTHANC")
WEB = ("--dicomweb", URL)
ENCODINGS = ("explicit", "rle", "jpeg-lossless", "jpeg-ls", "jpeg-2000")
GEOMETRY = (
    *("PositionerPrimaryAngle", "PositionerPrimaryAngleIncrement", "PositionerSecondaryAngle"),
    *("DistanceSourceToDetector", "DistanceSourceToPatient", "ImagerPixelSpacing", "FrameTime", "NumberOfFrames"),
)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    requires_orthanc()
    archive = Orthanc(tmp_path_factory.mktemp("orthanc"))
    yield archive
    archive.kill()


@pytest.fixture(scope="module")
def runs(tiny_case, tmp_path_factory):
    """Folder with mask and fill run in every encoding, all of one study, and a study per encoding pair."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        encoding: _encoded_pair(tiny_case, folder / encoding, encoding, study="1.2.826.0.1.3680043.10.4711.1")
        for encoding in ENCODINGS
    }


@pytest.fixture(scope="module")
def stored(orthanc, runs):
    """The study of all encodings in the archive: half of it by STOW-RS, half by C-STORE."""
    web = [path for encoding in ("explicit", "jpeg-lossless", "jpeg-2000") for path in runs[encoding]]
    dimse = [path for encoding in ("rle", "jpeg-ls") for path in runs[encoding]]
    _succeed(orthanc.dsarecon("send", *web, *WEB))
    _succeed(orthanc.dsarecon("send", *dimse, *DIMSE))
    return {_sop(path): path for path in (*web, *dimse)}


@pytest.mark.parametrize("protocol", [WEB, DIMSE], ids=["DICOMweb", "C-GET"])
def test_runs_in_every_encoding_come_back_bit_for_bit(orthanc, stored, tmp_path, protocol):
    study = pydicom.dcmread(next(iter(stored.values())), stop_before_pixels=True).StudyInstanceUID
    done = _succeed(orthanc.dsarecon("fetch", *protocol, "--study", study, "--out", tmp_path / "study"))
    assert done.stdout.strip() == str(tmp_path / "study")
    fetched = {_sop(path): path for path in (tmp_path / "study").rglob("*.dcm")}
    assert fetched.keys() == stored.keys()
    for uid, path in fetched.items():
        sent, came = pydicom.dcmread(stored[uid]), pydicom.dcmread(path)
        assert came.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert came.PixelData == sent.PixelData
        assert {name: came[name].value for name in GEOMETRY} == {name: sent[name].value for name in GEOMETRY}
        np.testing.assert_array_equal(_pixels(path), _pixels(stored[uid]))


def test_fetch_goes_on_where_it_stopped(orthanc, stored, tmp_path):
    study = pydicom.dcmread(next(iter(stored.values())), stop_before_pixels=True).StudyInstanceUID
    out = tmp_path / "study"
    _succeed(orthanc.dsarecon("fetch", *WEB, "--study", study, "--out", out))
    kept, lost = sorted(out.rglob("*.dcm"))[:2]
    lost.unlink()
    before = kept.stat().st_mtime_ns
    done = _succeed(orthanc.dsarecon("fetch", *WEB, "--study", study, "--out", out))
    assert "Fetched 1 objects, 9 were there already." in done.stderr
    assert lost.exists()
    assert kept.stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def result(orthanc, tiny_case, tmp_path_factory):
    """Folders of the fetched runs, their reconstruction and its DICOM objects."""
    folder, study = tmp_path_factory.mktemp("result"), generate_uid()
    mask, _ = _encoded_pair(tiny_case, folder / "a", "rle", study=study)
    _, fill = _encoded_pair(tiny_case, folder / "b", "jpeg-2000", study=study)
    _succeed(orthanc.dsarecon("send", mask, fill, *WEB))
    runs, result, exported = folder / "runs", folder / "result", folder / "dicom"
    _succeed(orthanc.dsarecon("fetch", *WEB, "--study", study, "--out", runs))
    common = ["--method", "fdk", "--size", "24", "--times", "3", "--no-report", "--device", "cpu"]
    assert main(["reconstruct", str(runs), "--out", str(result), *common]) == 0
    assert main(["export", str(result), "--dicom", str(exported), "--source", str(runs)]) == 0
    return runs, result, exported, study


def test_fetched_runs_are_inspected_as_one_pair(result, capsys):
    assert main(["inspect", str(result[0]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["pairs"]) == 1
    assert {run["encoding"] for run in found["runs"]} == {"RLE Lossless", "JPEG 2000 Image Compression (Lossless Only)"}


@pytest.mark.parametrize("back", [WEB, DIMSE], ids=["STOW-RS", "C-STORE"])
def test_result_survives_the_archive_bit_for_bit(result, tmp_path, back):
    _, folder, exported, study = result
    sent = {_sop(path): path for path in exported.rglob("*.dcm")}
    assert sent
    archive = Orthanc(tmp_path / "orthanc")
    try:
        _succeed(archive.dsarecon("send", exported, *back))
        _succeed(archive.dsarecon("fetch", *back, "--study", study, "--out", tmp_path / "again"))
    finally:
        archive.kill()
    came = {_sop(path): path for path in (tmp_path / "again").rglob("*.dcm")}
    assert came.keys() == sent.keys()
    for uid, path in sent.items():
        _assert_same_object(path, came[uid])
    _assert_volumes_show_the_result(list(came.values()), folder)


def _assert_same_object(sent: Path, came: Path) -> None:
    before, after = pydicom.dcmread(sent), pydicom.dcmread(came)
    assert before.keys() == after.keys()
    for element in before:
        assert after[element.tag] == element, element.tag
    if "PixelData" in before:
        one, other = sitk.ReadImage(str(sent)), sitk.ReadImage(str(came))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))
        assert one.GetOrigin() == other.GetOrigin()
        assert one.GetSpacing() == other.GetSpacing()
        assert one.GetDirection() == other.GetDirection()


def _assert_volumes_show_the_result(paths: list[Path], folder: Path) -> None:
    """X-Ray 3D volumes as SimpleITK reads them: place, size, values and times of the reconstruction."""
    volumes = {
        int(header.InstanceNumber): path
        for path in paths
        if (header := pydicom.dcmread(path, stop_before_pixels=True)).SOPClassUID == "1.2.840.10008.5.1.4.1.1.13.1.1"
    }
    result = open_result(folder)
    volume = result.load_reconstruction().volume
    times_s = result.record["sequence_times_s"]
    assert len(volumes) == len(times_s) == 3
    stamps = []
    for number, time_s in zip(sorted(volumes), times_s):
        image = sitk.ReadImage(str(volumes[number]))
        assert image.GetSize() == tuple(reversed(volume.grid.shape_zyx))
        np.testing.assert_allclose(image.GetSpacing(), volume.grid.spacing_mm, rtol=1e-6)
        np.testing.assert_allclose(image.GetOrigin(), volume.grid.origin_mm, atol=1e-4)
        attenuation = volume.at(time_s)
        np.testing.assert_allclose(
            sitk.GetArrayFromImage(image), attenuation, rtol=0, atol=1e-4 * float(np.ptp(attenuation))
        )
        stamps.append(_time_s(pydicom.dcmread(volumes[number])))
    np.testing.assert_allclose(np.diff(stamps), np.diff(times_s), atol=1e-5)


def _time_s(dataset: pydicom.Dataset) -> float:
    item = dataset.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0]
    stamp = str(item.FrameReferenceDateTime)
    return int(stamp[8:10]) * 3600 + int(stamp[10:12]) * 60 + float(stamp[12:].split("+")[0])


@pytest.mark.parametrize("command", ["fetch", "send"])
def test_wrong_password_is_one_clear_sentence(orthanc, stored, tmp_path, command):
    path = next(iter(stored.values()))
    arguments = {"fetch": ("--study", "1.2.3", "--out", tmp_path / "x"), "send": (path,)}[command]
    done = orthanc.dsarecon(command, *arguments, *WEB, DSARECON_PACS_PASSWORD="hunter2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"error: 127.0.0.1:{HTTP_PORT} refuses user and password (HTTP 401)."
    assert "hunter2" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("protocol", [("--dicomweb", "http://127.0.0.1:9/d"), ("--dimse", "127.0.0.1:9")])
def test_unreachable_server_is_one_clear_sentence(orthanc, tmp_path, protocol):
    done = orthanc.dsarecon("fetch", "--study", "1.2.3", "--out", tmp_path / "x", *protocol)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: 127.0.0.1:9 cannot be reached: connection refused."


def test_unknown_study_and_wrong_title_are_told_apart(orthanc, tmp_path):
    for protocol in (WEB, DIMSE):
        done = orthanc.dsarecon("fetch", *protocol, "--study", "1.2.3", "--out", tmp_path / "x")
        assert "does not know this study or series" in done.stderr
    done = orthanc.dsarecon(
        "fetch", "--dimse", PEER, "--called-aet", "OTHER", "--study", "1.2", "--out", tmp_path / "x"
    )
    assert "rejected the association: Called AE title not recognised" in done.stderr


@pytest.mark.parametrize("protocol", [WEB, DIMSE], ids=["DICOMweb", "DIMSE"])
def test_silent_server_is_left_in_time(halted, tmp_path, protocol):
    start = time.monotonic()
    done = halted.dsarecon("fetch", *protocol, "--study", "1.2.3", "--out", tmp_path / "x", "--timeout", "2")
    assert done.returncode == 1
    assert "did not" in done.stderr.splitlines()[0]
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("protocol", [WEB, DIMSE], ids=["DICOMweb", "DIMSE"])
def test_cancelling_takes_effect_within_two_seconds(halted, tmp_path, protocol):
    client = _start(halted, "fetch", *protocol, "--study", "1.2.3", "--out", tmp_path / "x")
    halted.wait_for_client()
    start = time.monotonic()
    client.send_signal(signal.SIGTERM)
    _, errors = client.communicate(timeout=20)
    assert client.returncode == 130, errors
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("protocol", [WEB, DIMSE], ids=["DICOMweb", "DIMSE"])
def test_killed_server_ends_the_command(tmp_path, protocol):
    requires_orthanc()
    archive = Orthanc(tmp_path / "orthanc")
    try:
        os.kill(archive.process.pid, signal.SIGSTOP)
        client = _start(archive, "fetch", *protocol, "--study", "1.2.3", "--out", tmp_path / "x")
        archive.wait_for_client()
        archive.kill()
        _, errors = client.communicate(timeout=30)
    finally:
        archive.kill()
    assert client.returncode == 1
    assert re.match(r"error: 127\.0\.0\.1:\d+ (cannot be reached|broke|did not open)", errors), errors


@pytest.fixture
def halted(orthanc):
    """The archive, which accepts connections but does not speak."""
    os.kill(orthanc.process.pid, signal.SIGSTOP)
    yield orthanc
    os.kill(orthanc.process.pid, signal.SIGCONT)


def test_large_objects_do_not_pass_through_memory(orthanc, tiny_case, tmp_path):
    megabytes = 64
    dataset = pydicom.dcmread(tiny_case / "mask.dcm")
    _identify(dataset, generate_uid())
    dataset.Rows = dataset.Columns = 1024
    dataset.NumberOfFrames = megabytes // 2
    dataset.PixelData = np.random.default_rng(0).bytes(megabytes << 20)
    dataset.save_as(tmp_path / "large.dcm")
    small = _peak_mb(orthanc, "send", tiny_case / "mask.dcm", *WEB)
    assert _peak_mb(orthanc, "send", tmp_path / "large.dcm", *WEB) < small + megabytes / 2
    out = ("--study", dataset.StudyInstanceUID, "--out", tmp_path / "x")
    assert _peak_mb(orthanc, "fetch", *WEB, *out) < small + megabytes / 2
    (came,) = (tmp_path / "x").rglob("*.dcm")
    assert pydicom.dcmread(came).PixelData == dataset.PixelData


def _peak_mb(orthanc: Orthanc, *arguments: object) -> float:
    code = (
        "import sys\nfrom DSAReconLib.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])\nsys.exit(code)"
    )
    done = _succeed(orthanc.run("-c", code, *map(str, arguments)))
    return float(done.stdout.split()[-1]) / 1024


def test_archive_listens_inside_its_namespace_only(orthanc):
    process = psutil.Process(orthanc.process.pid)
    assert os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    interfaces = Path(f"/proc/{process.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    ours = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid == process.pid]
    assert not ours
    assert orthanc.run("-c", f"import socket; socket.create_connection(('127.0.0.1', {DICOM_PORT}))").returncode == 0


def _succeed(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """The command succeeded and named no patient."""
    assert done.returncode == 0, done.stderr
    for secret in (*NAME.split("^"), PATIENT_ID):
        assert secret not in done.stdout + done.stderr
    return done


def _start(archive: Orthanc, *arguments: object) -> subprocess.Popen:
    command = archive.inside(sys.executable, "-m", "DSAReconLib", *map(str, arguments))
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=client_environment(), cwd=ROOT
    )


def _encoded_pair(case: Path, folder: Path, encoding: str, study: str) -> tuple[Path, Path]:
    folder.mkdir(parents=True)
    paths = folder / "mask.dcm", folder / "fill.dcm"
    for path in paths:
        dataset = pydicom.dcmread(case / path.name)
        _identify(dataset, study)
        if encoding in ("rle", "jpeg-ls"):
            syntax = {"rle": "1.2.840.10008.1.2.5", "jpeg-ls": "1.2.840.10008.1.2.4.80"}[encoding]
            dataset.compress(UID(syntax), generate_instance_uid=False)
        if encoding == "jpeg-2000":
            _compress_jpeg_2000(dataset)
        dataset.save_as(path, enforce_file_format=True)
        if encoding == "jpeg-lossless":
            _compress_jpeg_lossless(path)
    return paths


def _identify(dataset: pydicom.Dataset, study: str) -> None:
    dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID = NAME, PATIENT_ID, study
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _compress_jpeg_2000(dataset: pydicom.Dataset) -> None:
    from PIL import Image

    frames = []
    for frame in dataset.pixel_array:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
        frames.append(buffer.getvalue())
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless


def _compress_jpeg_lossless(path: Path) -> None:
    if shutil.which("dcmcjpeg") is None:
        pytest.skip("needs dcmcjpeg")
    target = path.with_suffix(".jpeg")
    subprocess.run(["dcmcjpeg", "+e1", path, target], check=True, capture_output=True)
    os.replace(target, path)


def _sop(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _pixels(path: Path) -> np.ndarray:
    intensity = read_run(path).intensity
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), intensity)
    return intensity
