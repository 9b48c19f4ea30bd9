"""The self-test of the module, as its button runs it."""

# ruff: noqa: E402 - slicer.ScriptedLoadableModule exists once the stand-in for the desktop was made

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("slicer")

from helpers.slicer_desktop import desktop

DESKTOP = desktop()

import slicer

pytestmark = pytest.mark.gui


def test_self_test_of_the_module_does_the_whole_round(monkeypatch):
    from DSAReconWidgets.selftest import DSAReconTest, Round

    said = []
    monkeypatch.setattr(DSAReconTest, "delayDisplay", lambda self, text, *_: said.append(text))
    DSAReconTest().runTest()
    assert len(said) == len(Round.STEPS) + 1
    assert said[-1] == "Test passed"
    slicer.mrmlScene.Clear(0)
    assert DESKTOP.take_errors() == []


def test_self_test_fails_when_a_step_does(monkeypatch, tmp_path):
    from DSAReconWidgets.logic import DSAReconLogic
    from DSAReconWidgets.selftest import Round

    logic = DSAReconLogic()
    monkeypatch.setattr(logic, "findRuns", lambda paths: [])
    with pytest.raises(Exception, match="mask run and a fill run are needed"):
        Round(logic, tmp_path).findRuns()
    monkeypatch.setattr(logic, "pairRuns", lambda runs: [1, 2])
    with pytest.raises(AssertionError, match="one pair of runs is expected; found 2"):
        Round(logic, tmp_path).findRuns()
