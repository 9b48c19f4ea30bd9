import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from helpers.realdata import real_data
from helpers.xa_objects import compress, stored_frames, write_xa

from DSAReconLib.dicom import pixels as pixels_module
from DSAReconLib.dicom import read_run
from DSAReconLib.dicom.attributes import read_header
from DSAReconLib.dicom.pixels import pixel_format
from DSAReconLib.dicom.pixels import stored_frames as decoded_frames

DCMTK = {
    "JPEG lossless SV1": ["dcmcjpeg", "+e1"],
    "JPEG lossless": ["dcmcjpeg", "+el"],
    "RLE": ["dcmcrle"],
    "JPEG-LS": ["dcmcjpls", "+el"],
}


def _smooth_pixels(bits=12):
    rows, columns = np.mgrid[:24, :32]
    frames = np.stack([(columns * 40 + rows * 30 + 5 * k) % (1 << bits) for k in range(12)])
    return frames.astype(np.uint16)


@pytest.fixture(params=["pydicom", "SimpleITK"])
def decoder(request, monkeypatch):
    """Both ways of decoding; SimpleITK is all that a bare installation has for most encodings."""
    if request.param == "SimpleITK":

        def nothing(_path):
            raise NotImplementedError("no decoder")

        monkeypatch.setattr(pixels_module, "_pydicom_frames", nothing)
    return request.param


@pytest.mark.parametrize("encoding", DCMTK)
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_lossless_encodings_of_dcmtk_give_the_same_intensities(tmp_path, decoder, encoding, bits):
    tool, *options = DCMTK[encoding]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    pixels = _smooth_pixels(bits)
    source = write_xa(tmp_path / "raw.dcm", pixels, BitsStored=bits, HighBit=bits - 1)
    subprocess.run([tool, *options, source, tmp_path / "run.dcm"], check=True, capture_output=True)
    assert pydicom.dcmread(tmp_path / "run.dcm", stop_before_pixels=True).file_meta.TransferSyntaxUID.is_encapsulated
    np.testing.assert_array_equal(read_run(tmp_path / "run.dcm").intensity, pixels)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"], ids=["RLE", "JPEG-LS"])
def test_encodings_written_by_pydicom_give_the_same_intensities(tmp_path, decoder, syntax):
    pixels = stored_frames()
    source = write_xa(tmp_path / "raw.dcm", pixels)
    try:
        path = compress(source, tmp_path / "run.dcm", syntax)
    except (RuntimeError, NotImplementedError, ValueError):
        pytest.skip("pydicom has no encoder")
    np.testing.assert_array_equal(read_run(path).intensity, pixels)


def test_raw_pixels_are_the_same_by_either_decoder_with_a_rescale_slope(tmp_path, decoder):
    pixels = stored_frames()
    path = write_xa(tmp_path / "run.dcm", pixels, RescaleSlope=2.0, RescaleIntercept=1.0, RescaleType="US")
    np.testing.assert_allclose(read_run(path).intensity, 2.0 * pixels + 1.0)


def test_eight_bit_jpeg_with_losses_stays_close(tmp_path, decoder):
    if shutil.which("dcmcjpeg") is None:
        pytest.skip("dcmcjpeg is not installed")
    pixels = (_smooth_pixels(12) // 16).astype(np.uint8)
    pixels[:, :2, :2], pixels[:, -2:, -2:] = 0, 255  # dcmcjpeg stretches what does not fill the range
    source = write_xa(tmp_path / "raw.dcm", pixels)
    subprocess.run(["dcmcjpeg", "+eb", "+q", "95", source, tmp_path / "run.dcm"], check=True, capture_output=True)
    run = read_run(tmp_path / "run.dcm", accept_display_values=True)  # dcmcjpeg marks them DISP
    assert np.median(np.abs(run.intensity - pixels)) < 4
    assert "dicom.lossy" in {code for code, _ in run.warnings}


@pytest.mark.realdata
def test_real_images_decode_alike_in_all_encodings(capfd):
    def image(name):
        path = real_data("xa_dicom", f"wg04_XA1_{name}.dcm")
        header, _ = read_header(path)
        return next(iter(decoded_frames(path, pixel_format(header, path.name)))).astype(int)

    truth = image("UNC")
    for name in ("RLE", "JPLL", "JLSL", "J2KR"):
        np.testing.assert_array_equal(image(name), truth)
    for name in ("JPLY", "JLSN", "J2KI"):
        assert np.abs(image(name) - truth).mean() < 6
    assert capfd.readouterr().err == ""
