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
        ({"views": 2.5}, "views must be a whole number"),
        ({"size": True}, "size must be a whole number"),
        ({"spacing_mm": float("nan")}, "spacing_mm must be a number"),
        ({"spacing_mm": float("inf")}, "spacing_mm must be a number"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"overrides": [1]}, "overrides must hold names with values"),
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
        (json.dumps({"out": "o", "paths": ["a"], "views": "many"}), "views must be a whole number"),
        (json.dumps({"out": "o", "paths": 1, "selection": []}), "selection must be one of"),
    ],
)
def test_unusable_json_is_refused_with_the_reason(text, message):
    with pytest.raises(ConfigError, match=message):
        ReconstructionJob.from_json(text)
