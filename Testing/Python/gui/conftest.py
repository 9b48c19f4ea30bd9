"""Fixtures of the panel's tests."""

import pytest


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
