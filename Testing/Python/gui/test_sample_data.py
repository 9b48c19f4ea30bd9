"""The sample case is simulated in a child process, once, and nothing half-made is left behind."""

import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from helpers.slicer_desktop import desktop

pytestmark = pytest.mark.gui
TINY = ("--preset", "tiny", "--views", "24", "--detector", "32", "--voxel", "2")


@pytest.fixture
def sample_data():
    desktop()
    from DSAReconWidgets import sample_data as module

    return module


def _go_on(stage, fraction):
    return True


def test_simulation_makes_a_complete_case_with_a_pair_of_runs_and_tells_its_stages(sample_data, tmp_path):
    from DSAReconLib.acquisition.pairing import pair_runs
    from DSAReconLib.dicom.find import find_runs

    stages = []
    folder = tmp_path / "cache" / "case"
    assert not sample_data.isComplete(folder)
    sample_data.simulate(folder, lambda stage, fraction: stages.append(stage) or True, options=TINY)
    assert sample_data.isComplete(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["case"]
    assert "project head" in stages
    (pair,) = pair_runs(find_runs([folder]))
    assert (pair.mask.path.name, pair.fill.path.name) == sample_data.RUNS


def test_cancelling_ends_the_child_and_leaves_nothing(sample_data, tmp_path):
    from DSAReconWidgets.process import _running

    from DSAReconLib.errors import JobCancelled

    with pytest.raises(JobCancelled):
        sample_data.simulate(tmp_path / "case", lambda stage, fraction: stage == "")
    assert list(tmp_path.iterdir()) == []
    assert not _running


def test_what_the_child_reports_is_raised(sample_data, tmp_path):
    from DSAReconLib.errors import DSAReconError

    with pytest.raises(DSAReconError, match="views"):
        sample_data.simulate(tmp_path / "case", _go_on, options=("--views", "0"))
    assert list(tmp_path.iterdir()) == []


def test_child_that_cannot_start_is_a_sentence(sample_data, tmp_path):
    from DSAReconLib.errors import DSAReconError

    with pytest.raises(DSAReconError, match="ended without a result") as failure:
        sample_data.simulate(tmp_path / "case", _go_on, python=str(tmp_path / "no_python"))
    assert failure.value.hint


@pytest.fixture
def sources(monkeypatch):
    """What was registered in the Sample Data module."""
    registered = []
    module = types.ModuleType("SampleData")
    module.SampleDataLogic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: registered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", module)
    return registered


def test_sample_is_registered_with_a_picture_and_without_a_download(sample_data, sources):
    sample_data.registerSampleData()
    (source,) = sources
    assert source["sampleName"] == "Simulated rotational DSA (carotid)"
    assert Path(source["thumbnailFileName"]).is_file()
    assert source["customDownloader"] is sample_data.loadSimulatedRuns
    assert len(source["uris"]) == len(source["fileNames"]) == len(source["nodeNames"])
    assert not any("://" in uri for uri in source["uris"])


class _Dialog:
    """``slicer.util.createProgressDialog`` whose Cancel is pressed or not."""

    def __init__(self, cancelled):
        self.wasCanceled, self.labels, self.closed = cancelled, [], False

    def __setattr__(self, name, value):
        if name == "labelText":
            self.labels.append(value)
        object.__setattr__(self, name, value)

    def close(self):
        self.closed = True


@pytest.fixture
def click(sample_data, tmp_path, monkeypatch):
    """Press the button of the Sample Data module; ``click(cancelled)`` gives (names loaded, dialogs, errors)."""
    import slicer

    dialogs, errors = [], []
    monkeypatch.setattr(sample_data, "sampleFolder", lambda: tmp_path / "case")
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: errors.append(text), raising=False)

    def press(cancelled=False, options=TINY):
        monkeypatch.setattr(sample_data.simulate, "__kwdefaults__", {"options": options, "python": ""})
        monkeypatch.setattr(
            slicer.util,
            "createProgressDialog",
            lambda **_: dialogs.append(_Dialog(cancelled)) or dialogs[-1],
            raising=False,
        )
        loaded = [Path(node.GetAttribute("DSARecon.SourceFile")).name for node in sample_data.loadSimulatedRuns()]
        return loaded, dialogs, errors

    yield press
    desktop().close_scene()


def test_button_simulates_once_and_loads_mask_and_fill(click):
    loaded, dialogs, errors = click()
    assert (loaded, errors) == (["mask.dcm", "fill.dcm"], [])
    assert dialogs[0].closed
    stages = ("vessel tree", "project contrast", "project head", "expose")
    assert all(any(stage in label for label in dialogs[0].labels) for stage in stages)
    loaded, dialogs, _ = click()
    assert loaded == ["mask.dcm", "fill.dcm"]
    assert len(dialogs) == 1


def test_button_cancelled_loads_nothing_and_says_nothing(click):
    loaded, dialogs, errors = click(cancelled=True)
    assert (loaded, errors) == ([], [])
    assert dialogs[0].closed


def test_button_shows_what_went_wrong(click):
    loaded, dialogs, errors = click(options=("--views", "0"))
    assert loaded == []
    assert dialogs[0].closed
    assert "views" in errors[0]


def test_button_sends_to_the_installation_if_packages_are_missing(click, sample_data, monkeypatch):
    import slicer

    said, opened = [], []
    monkeypatch.setattr(sample_data, "_NEEDS", sample_data.Needs(("a-package-that-nobody-has>=1",)))
    monkeypatch.setattr(slicer.util, "infoDisplay", said.append, raising=False)
    monkeypatch.setattr(slicer.util, "selectModule", opened.append, raising=False)
    loaded, dialogs, errors = click()
    assert (loaded, dialogs, errors, opened) == ([], [], [], ["DSARecon"])
    assert "install" in said[0]
