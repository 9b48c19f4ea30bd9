"""Jobs as values: JSON, and refusal of what contradicts itself."""

import json

import pytest

from DSAReconLib.errors import ConfigError
from DSAReconLib.jobs.job import ReconstructionJob


def test_job_survives_json():
    job = ReconstructionJob(
        paths=("a", "b"), out="o", method="fdk", overrides={"window": "hann"}, view_indices="0:9:3", spacing_mm=0.5
    )
    assert ReconstructionJob.from_json(job.to_json()) == job


def test_checkpoint_lies_beside_the_result():
    job = ReconstructionJob(paths=("a",), out="/data/case.1")
    assert job.checkpoint_folder.name == "case.1.checkpoint"
    assert job.checkpoint_folder.parent == job.out_folder.parent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ()}, "No input"),
        ({"paths": (), "fill": "f"}, "No input"),
        ({"fill": "f", "mask": "m"}, "Input is given twice"),
        ({"views": 3, "view_indices": "1,2"}, "Views are given twice"),
        ({"method": "magic"}, "no method 'magic'"),
        ({"selection": "random"}, "selection must be one of"),
        ({"registration": "elastic"}, "registration must be one of"),
        ({"views": 1}, "views must be at least 2"),
        ({"size": -4}, "size must be at least 8"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ReconstructionJob(**{"paths": ("a",), "out": "o", **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"paths": ["a"]}', "at least 'out'"),
        (json.dumps({"out": "o", "paths": ["a"], "colour": 1}), "unknown entries: colour"),
        (json.dumps({"out": "o", "paths": ["a"], "views": "many"}), "wrong type"),
    ],
)
def test_unusable_json_is_refused_with_the_reason(text, message):
    with pytest.raises(ConfigError, match=message):
        ReconstructionJob.from_json(text)
