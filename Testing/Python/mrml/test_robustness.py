"""Closing the scene, deleting nodes in any order, pressing everything afterwards: nothing raises."""

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
from helpers.cases import small_case

pytestmark = pytest.mark.mrml
slicer = pytest.importorskip("slicer")

from DSAReconLib.mrml import display  # noqa: E402
from DSAReconLib.mrml.curves import CurvePlot  # noqa: E402
from DSAReconLib.mrml.offscreen import OffscreenView  # noqa: E402
from DSAReconLib.mrml.presets import PRESETS  # noqa: E402
from DSAReconLib.mrml.probe import CurveProbe  # noqa: E402
from DSAReconLib.mrml.result import load_result, remove_result, results_in_scene  # noqa: E402
from DSAReconLib.mrml.run import load_run  # noqa: E402
from DSAReconLib.mrml.sequence import TimeLink, current_time, select_time, set_playback  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


def _press_everything(context, nodes):
    select_time(nodes.browser, 1.0)
    current_time(nodes.browser)
    set_playback(nodes.browser, True)
    context.sequences_logic.UpdateAllProxyNodes()
    set_playback(nodes.browser, False)
    display.show_volume(nodes)
    display.show_surface(nodes, opacity=0.5)
    for preset in PRESETS:
        display.apply_preset(context, nodes, preset)
    display.set_mapper(context, nodes, "gpu")
    display.set_mapper(context, nodes, "cpu")
    display.color_surface(nodes, "plain")
    display.color_surface(nodes, "arrival_time")
    display.show_legend(context, nodes)
    display.show_legend(context, nodes, False)
    display.show_in_slices(context, nodes.peak)
    display.show_only(context, [nodes], nodes)
    assert isinstance(nodes.name, str)
    assert nodes.attenuation_scale > 0


@pytest.fixture
def everything(context, result_folder):
    """A result with a view, a linked time, points and a plot."""
    view = OffscreenView(context, 64, 64)
    nodes = load_result(context, result_folder)
    display.show_legend(context, nodes)
    plot = CurvePlot(context)
    probe = CurveProbe(context, [nodes], plot)
    probe.add((0.0, 0.0, 0.0))
    link = TimeLink(context, [nodes.browser], plot.set_time)
    view.picture()
    yield nodes, plot, probe, link, view
    probe.close()
    link.close()
    view.close()


def test_closing_the_scene_leaves_nothing_that_raises(context, everything, result_folder):
    nodes, plot, probe, link, view = everything
    context.scene.Clear(False)
    assert not nodes.in_scene()
    _press_everything(context, nodes)
    probe.update()
    plot.set_time(0.5)
    plot.remove()
    link.select_time(1.0)
    view.picture()
    remove_result(context, nodes)
    assert results_in_scene(context) == []
    _press_everything(context, load_result(context, result_folder))


@pytest.mark.parametrize("first", ["browser", "sequence", "proxy", "surface", "peak", "rendering"])
def test_deleting_any_node_first_leaves_nothing_that_raises(context, everything, first):
    nodes, _, probe, link, view = everything
    context.scene.RemoveNode(getattr(nodes, first))
    _press_everything(context, nodes)
    probe.update()
    link.select_time(1.0)
    view.picture()
    for found in results_in_scene(context):
        _press_everything(context, found)
    remove_result(context, nodes)
    assert results_in_scene(context) == []


def test_nodes_can_be_deleted_in_any_order(context, result_folder):
    for order in permutations(("browser", "sequence", "proxy")):
        nodes = load_result(context, result_folder)
        for name in order:
            context.scene.RemoveNode(getattr(nodes, name))
            _press_everything(context, nodes)
        remove_result(context, nodes)


def test_closing_while_it_plays_is_quiet(context, everything):
    nodes = everything[0]
    run = load_run(context, small_case(views=12, detector=32)[1])
    set_playback(nodes.browser, True, speed=50)
    set_playback(run.browser, True, speed=50)
    context.sequences_logic.UpdateAllProxyNodes()
    context.scene.Clear(False)
    context.sequences_logic.UpdateAllProxyNodes()
    assert context.scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 0


def test_scene_code_needs_only_what_slicer_bundles(result_folder):
    """Also while it works, not only while it is imported."""
    blocked = ("torch", "numba", "llvmlite", "skimage", "trimesh", "matplotlib", "tqdm", "trame_slicer", "gdcm")
    code = f"""
import sys
for name in {blocked!r}: sys.modules[name] = None
from pathlib import Path
import importlib
for path in sorted(Path("DSAReconLib/mrml").glob("*.py")):
    importlib.import_module("DSAReconLib.mrml." + path.stem if path.stem != "__init__" else "DSAReconLib.mrml")
from DSAReconLib.mrml.core_application import core_context
from DSAReconLib.mrml.result import load_result
from DSAReconLib.mrml.curves import CurveModel
from DSAReconLib.mrml.export import export_kinds
context = core_context()
nodes = load_result(context, Path({str(result_folder)!r}))
CurveModel(nodes.result).at_point((0, 0, 0), reach_mm=1e3).attenuation
assert len(export_kinds(nodes.result)) > 5
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_scene_code_imports_without_slicer():
    """Slicer is imported where it is used: modules of Slicer may not be loaded yet at file scope."""
    names = [path.stem for path in (ROOT / "DSAReconLib" / "mrml").glob("*.py") if path.stem != "__init__"]
    code = "import sys, importlib\nfor name in ('slicer', 'scipy', 'SimpleITK'): sys.modules[name] = None\n"
    code += f"for name in {sorted(names)!r}: importlib.import_module('DSAReconLib.mrml.' + name)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
