"""A scene per test, result folders per session."""

import pytest


@pytest.fixture
def context():
    """A new scene of slicer-core."""
    pytest.importorskip("slicer")
    from DSAReconLib.mrml.core_application import core_context

    made = core_context()
    yield made
    made.scene.Clear(True)


@pytest.fixture(scope="session")
def result_folder(tmp_path_factory):
    """A 4D result that holds the simulation's truth."""
    from helpers.scene_cases import write_truth_result

    return write_truth_result(tmp_path_factory.mktemp("mrml") / "truth")


@pytest.fixture(scope="session")
def static_folder(tmp_path_factory):
    """The same without time, as FDK makes it."""
    from helpers.scene_cases import write_truth_result

    return write_truth_result(tmp_path_factory.mktemp("mrml") / "static", static=True, title="Static")
