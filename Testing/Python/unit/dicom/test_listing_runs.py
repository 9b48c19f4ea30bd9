"""A list of runs tells what is wrong with their pixels, though it reads none."""

import pytest
from helpers.xa_objects import log_lut, write_xa

from DSAReconLib.dicom.find import summarize_file


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"LossyImageCompression": "01"}, "dicom.lossy"),
        ({"PixelIntensityRelationship": "DISP"}, "dicom.display_values"),
        ({"PixelIntensityRelationship": "LOG"}, "dicom.log_without_lut"),
        ({"PixelIntensityRelationship": None}, "dicom.relationship_missing"),
    ],
    ids=["lossy", "display", "log", "unknown"],
)
def test_doubtful_pixels_are_a_warning_of_the_listed_run(tmp_path, attributes, code):
    (summary,) = summarize_file(write_xa(tmp_path / "run.dcm", **attributes))
    assert summary.is_run
    assert code in [found for found, _ in summary.warnings]


def test_good_pixels_are_no_warning(tmp_path):
    (summary,) = summarize_file(write_xa(tmp_path / "run.dcm"))
    assert summary.warnings == ()
    (summary,) = summarize_file(
        write_xa(tmp_path / "log.dcm", PixelIntensityRelationship="LOG", ModalityLUTSequence=[log_lut()[0]])
    )
    assert not {code for code, _ in summary.warnings} & {"dicom.log_without_lut", "dicom.lossy"}
