import numpy as np
import pytest
from helpers.xa_objects import COLUMNS, FRAMES, ROWS, log_lut, stored_frames, write_xa

from DSAReconLib.dicom import read_run, read_runs
from DSAReconLib.errors import DicomRunError


def _codes(run):
    return {code for code, _ in run.warnings}


def test_linear_pixels_come_out_as_stored(tmp_path):
    pixels = stored_frames()
    run = read_run(write_xa(tmp_path / "run.dcm", pixels))
    assert run.intensity.dtype == np.float32
    np.testing.assert_array_equal(run.intensity, pixels)
    assert run.valid is None


def test_rescale_slope_and_intercept_apply_to_linear_pixels(tmp_path):
    pixels = stored_frames()
    run = read_run(write_xa(tmp_path / "run.dcm", pixels, RescaleSlope=2.0, RescaleIntercept=10.0, RescaleType="US"))
    np.testing.assert_allclose(run.intensity, 2.0 * pixels + 10.0)


def test_logarithmic_pixels_go_through_their_modality_lut(tmp_path):
    intensity = np.random.default_rng(1).integers(500, 60000, (FRAMES, ROWS, COLUMNS))
    item, to_stored = log_lut()
    path = write_xa(
        tmp_path / "run.dcm",
        to_stored(intensity),
        PixelIntensityRelationship="LOG",
        BitsStored=12,
        HighBit=11,
        ModalityLUTSequence=[item],
    )
    run = read_run(path)
    np.testing.assert_allclose(run.intensity, intensity, rtol=2e-3)


def test_a_lut_maps_values_before_its_first_entry_to_that_entry(tmp_path):
    item, _ = log_lut()
    from pydicom.tag import Tag

    item[Tag(0x0028, 0x3002)].value = [4096, 100, 16]
    pixels = np.zeros((FRAMES, ROWS, COLUMNS), np.uint16)
    pixels[:, :, 1], pixels[:, :, 2] = 100, 101
    run = read_run(write_xa(tmp_path / "run.dcm", pixels, ModalityLUTSequence=[item], PixelPaddingValue=9))
    table = np.round(65535 * np.exp((np.arange(4096) - 4095) / 400))
    np.testing.assert_allclose(run.intensity[0, 0, :3], table[[0, 0, 1]])


@pytest.mark.parametrize("how", [{"PixelIntensityRelationshipSign": -1}, {"PhotometricInterpretation": "MONOCHROME1"}])
def test_inverted_pixels_are_turned_back(tmp_path, how):
    pixels = stored_frames()
    run = read_run(write_xa(tmp_path / "run.dcm", (4095 - pixels).astype(np.uint16), BitsStored=12, HighBit=11, **how))
    np.testing.assert_array_equal(run.intensity, pixels)


def test_a_sign_of_one_wins_over_monochrome1(tmp_path):
    pixels = stored_frames()
    path = write_xa(
        tmp_path / "run.dcm", pixels, PhotometricInterpretation="MONOCHROME1", PixelIntensityRelationshipSign=1
    )
    np.testing.assert_array_equal(read_run(path).intensity, pixels)


def test_logarithmic_pixels_without_lut_are_refused(tmp_path):
    with pytest.raises(DicomRunError) as caught:
        read_run(write_xa(tmp_path / "run.dcm", PixelIntensityRelationship="LOG"))
    assert caught.value.code == "dicom.log_without_lut"
    assert "run.dcm" in caught.value.message


def test_display_pixels_are_refused_unless_asked_for(tmp_path):
    path = write_xa(tmp_path / "run.dcm", PixelIntensityRelationship="DISP")
    with pytest.raises(DicomRunError) as caught:
        read_run(path)
    assert caught.value.code == "dicom.display_values"
    assert "dicom.display_values" in _codes(read_run(path, accept_display_values=True))


def test_a_missing_relationship_is_taken_as_linear_with_a_warning(tmp_path):
    run = read_run(write_xa(tmp_path / "run.dcm", PixelIntensityRelationship=None))
    assert "dicom.relationship_missing" in _codes(run)


def test_overlay_bits_above_the_stored_ones_are_cut_off(tmp_path):
    pixels = stored_frames()
    run = read_run(write_xa(tmp_path / "run.dcm", pixels | np.uint16(0x8000), BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(run.intensity, pixels)


def test_lossy_and_eight_bit_runs_are_read_with_warnings(tmp_path):
    pixels = (stored_frames() // 16).astype(np.uint8)
    run = read_run(write_xa(tmp_path / "run.dcm", pixels, LossyImageCompression="01", LossyImageCompressionRatio=12.0))
    np.testing.assert_array_equal(run.intensity, pixels)
    assert {"dicom.lossy", "dicom.eight_bit"} <= _codes(run)


def test_the_intensity_of_clipped_pixels_is_known(tmp_path):
    pixels = stored_frames()
    assert read_run(write_xa(tmp_path / "run.dcm", pixels)).saturation is None
    pixels[3, :6] = 65535
    assert read_run(write_xa(tmp_path / "run.dcm", pixels)).saturation == 65535
    item, to_stored = log_lut()
    logarithmic = {"PixelIntensityRelationship": "LOG", "BitsStored": 12, "HighBit": 11, "ModalityLUTSequence": [item]}
    run = read_run(write_xa(tmp_path / "run.dcm", to_stored(pixels), **logarithmic))
    assert run.saturation == run.intensity.max() == 65535


def test_big_endian_and_implicit_files_read_the_same(tmp_path):
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

    path = write_xa(tmp_path / "run.dcm")
    expected = read_runs(path)[0].intensity
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.save_as(tmp_path / "implicit.dcm", implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_run(tmp_path / "implicit.dcm").intensity, expected)
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds["PixelData"].VR = "OW"
    pydicom.dcmwrite(tmp_path / "big.dcm", ds, implicit_vr=False, little_endian=False, force_encoding=True)
    np.testing.assert_array_equal(read_run(tmp_path / "big.dcm").intensity, expected)
