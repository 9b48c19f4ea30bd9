"""The panel's state and the job say the same, name by name."""

# ruff: noqa: E402 - slicer.parameterNodeWrapper exists once the stand-in for the desktop was made

import dataclasses

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.slicer_desktop import desktop

DESKTOP = desktop()

import slicer
from DSAReconWidgets.parameters import (
    AUTOMATIC,
    SAME_IN_JOB,
    DSAReconParameterNode,
    clearMethodOverrides,
    jobFromParameters,
    methodOptions,
    methodOverrides,
    parametersFromJob,
    presetNames,
    setMethodOverride,
)

from DSAReconLib.errors import ConfigError
from DSAReconLib.jobs.job import ReconstructionJob
from DSAReconLib.methods.parameters import build_config
from DSAReconLib.methods.registry import METHODS

pytestmark = pytest.mark.gui
NOT_IN_PANEL = {"out", "paths", "fill", "mask", "header", "resume", "overwrite"}
"""Input and output are not parameters; a job of the panel never resumes or overwrites."""


@pytest.fixture
def node():
    made = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    yield DSAReconParameterNode(made)
    slicer.mrmlScene.RemoveNode(made)


def test_every_field_of_a_job_is_a_parameter_or_left_out_on_purpose():
    fields = {field.name for field in dataclasses.fields(ReconstructionJob)}
    parameters = {name for name in DSAReconParameterNode.allParameters if name == name.lower()}
    assert fields - NOT_IN_PANEL == {*SAME_IN_JOB, *AUTOMATIC, "overrides"}
    assert {*SAME_IN_JOB, *AUTOMATIC, "overrides"} <= parameters


def test_untouched_panel_asks_for_the_default_job(node):
    assert jobFromParameters(node, "/nowhere/out", paths=("a",)) == ReconstructionJob(out="/nowhere/out", paths=("a",))


def test_every_parameter_reaches_the_job_and_comes_back(node):
    job = ReconstructionJob(
        out="/nowhere/out",
        mask="m",
        fill="f",
        method="fdk",
        preset="fast",
        overrides={"cutoff": 0.5, "window": "hann"},
        views=20,
        selection="bolus",
        size=64,
        spacing_mm=0.75,
        device="cpu",
        seed=0,
        output_times=5,
        corrections="table.csv",
        header={"DistanceSourceToPatient": "785", "FrameTime": "33.3"},
        registration="none",
        report=False,
    )
    parametersFromJob(node, job)
    assert jobFromParameters(node, "/nowhere/out", mask="m", fill="f") == job
    parametersFromJob(node, ReconstructionJob(out="/nowhere/out", paths=("a",)))
    assert jobFromParameters(node, "/nowhere/out", paths=("a",)) == ReconstructionJob(out="/nowhere/out", paths=("a",))


def test_contradicting_parameters_are_refused_with_a_sentence(node):
    node.views, node.view_indices = 10, "0:20:2"
    with pytest.raises(ConfigError, match="given twice"):
        jobFromParameters(node, "/nowhere/out", paths=("a",))


@pytest.mark.parametrize("method", METHODS)
def test_advanced_options_are_those_of_the_method_with_the_values_of_the_preset(method):
    for preset in presetNames(method):
        options = methodOptions(method, preset)
        assert {option.name: option.default for option in options} == dataclasses.asdict(build_config(method, preset))
        assert all(option.help and option.kind in ("int", "float", "bool", "str") for option in options)


def test_override_is_kept_per_method_and_forgotten_when_it_equals_the_preset(node):
    node.method = "fdk"
    setMethodOverride(node, "cutoff", 0.5)
    node.method = "transit"
    assert methodOverrides(node) == {}
    setMethodOverride(node, "epochs", 7)
    node.method = "fdk"
    assert methodOverrides(node) == {"cutoff": 0.5}
    setMethodOverride(node, "cutoff", build_config("fdk").cutoff)
    assert methodOverrides(node) == {}
    assert methodOverrides(node, "transit") == {"epochs": 7}
    node.method = "transit"
    clearMethodOverrides(node)
    assert methodOverrides(node) == {}


def test_override_out_of_range_changes_nothing(node):
    node.method = "fdk"
    with pytest.raises(ConfigError):
        setMethodOverride(node, "cutoff", 7.0)
    with pytest.raises(ConfigError):
        setMethodOverride(node, "no_such_option", 1)
    assert methodOverrides(node) == {}


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"fdk": 3}'])
def test_damaged_overrides_of_an_old_scene_count_as_none(node, damaged):
    node.method, node.overrides = "fdk", damaged
    assert methodOverrides(node) == {}
    setMethodOverride(node, "cutoff", 0.5)
    assert methodOverrides(node) == {"cutoff": 0.5}
