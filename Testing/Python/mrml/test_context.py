"""The same scene code in each application: slicer-core, trame-slicer, and the desktop's way of access."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

from DSAReconLib.errors import ResourceError, ResultError  # noqa: E402
from DSAReconLib.mrml import display, volumes  # noqa: E402
from DSAReconLib.mrml.context import SceneContext  # noqa: E402
from DSAReconLib.mrml.core_application import read_bundle, save_bundle  # noqa: E402
from DSAReconLib.mrml.result import load_result, results_in_scene  # noqa: E402
from DSAReconLib.mrml.sequence import select_time  # noqa: E402


def test_result_loads_in_the_scene_of_the_viewer(result_folder):
    core = pytest.importorskip("trame_slicer.core")
    asyncio.set_event_loop(asyncio.new_event_loop())
    app = core.SlicerApp()
    context = SceneContext.of_trame(app)
    assert SceneContext.of_trame(app).sequences_logic is context.sequences_logic
    nodes = load_result(context, result_folder)
    assert nodes.rendering.GetClassName() == display.MAPPERS["cpu"]
    select_time(nodes.browser, nodes.times_s[2])
    np.testing.assert_array_equal(volumes.voxels(nodes.proxy), volumes.voxels(nodes.sequence.GetNthDataNode(2)))
    display.show_surface(nodes)
    display.show_legend(context, nodes)
    assert display.legend_visible(nodes)
    app.scene.Clear(True)


def test_desktop_is_found_through_its_modules(context, result_folder, monkeypatch):
    monkeypatch.setattr(
        slicer, "app", SimpleNamespace(applicationLogic=lambda: context.application_logic), raising=False
    )
    context.volume_rendering_logic.ChangeVolumeRenderingMethod(display.MAPPERS["gpu"])
    desktop = SceneContext.of_desktop()
    assert desktop.scene is context.scene
    assert desktop.sequences_logic is context.sequences_logic
    assert desktop.default_mapper == "gpu"
    nodes = load_result(desktop, result_folder)
    assert nodes.rendering.GetClassName() == display.MAPPERS["gpu"]
    context.volume_rendering_logic.ChangeVolumeRenderingMethod(display.MAPPERS["cpu"])
    assert SceneContext.of_desktop().default_mapper == "cpu"


def test_batch_ends_after_an_error(context):
    with pytest.raises(RuntimeError), context.batch():
        raise RuntimeError
    assert not context.scene.IsBatchProcessing()


def test_bundle_that_cannot_be_written_or_read_is_named(context, tmp_path):
    with pytest.raises(ResourceError, match="missing"):
        save_bundle(context, tmp_path / "missing" / "scene.mrb")
    with pytest.raises(ResultError, match="none"):
        read_bundle(context, tmp_path / "none.mrb")


def test_unknown_preset_is_refused_before_anything_is_loaded(context, result_folder):
    with pytest.raises(ValueError, match="DSA vessels"):
        load_result(context, result_folder, preset="X")
    assert results_in_scene(context) == []
