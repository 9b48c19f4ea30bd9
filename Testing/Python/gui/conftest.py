"""Fixtures of the panel's tests."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _desktop_stays_as_it_is():
    """A test that makes a scene of its own leaves the desktop's to the next one."""
    slicer = sys.modules.get("slicer")
    before = {name: getattr(slicer, name) for name in ("mrmlScene", "modules", "app") if hasattr(slicer, name)}
    yield
    for name, value in before.items():
        setattr(slicer, name, value)
    if "app" in before:
        for kind in ("ThreeD", "Slice"):
            factory = getattr(slicer, f"vtkMRML{kind}ViewDisplayableManagerFactory")
            factory.GetInstance().SetMRMLApplicationLogic(before["app"].applicationLogic())


@pytest.fixture
def panel():
    """The panel as on first use."""
    pytest.importorskip("PySide6")
    pytest.importorskip("slicer")
    from helpers.panel import opened_panel

    with opened_panel() as opened:
        yield opened


@pytest.fixture(scope="session")
def result_folders(tmp_path_factory):
    """Two results of the same run, changing over time."""
    from helpers.scene_cases import write_truth_result

    folder = tmp_path_factory.mktemp("results")
    return [write_truth_result(folder / title.lower(), title=title) for title in ("First", "Second")]
