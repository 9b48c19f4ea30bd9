"""The panel in the tests' desktop: opened, filled, watched."""

# ruff: noqa: E402 - qt and slicer.app exist once the stand-in for the desktop was made

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.method_doubles import NAME, double_job, install
from helpers.slicer_desktop import desktop

DESKTOP = desktop()

import slicer
from DSAReconWidgets.process import WorkerProcess

from DSAReconLib.methods.registry import METHODS

TESTS = Path(__file__).parents[1]


@contextmanager
def opened_panel() -> Iterator[Any]:
    """The panel as on first use; afterwards no receiver of a signal may have failed, and no child may live."""
    DESKTOP.forget_settings()
    DESKTOP.take_errors()
    slicer.app.layoutManager().setLayout(2)
    panel = DESKTOP.open_module()
    try:
        yield panel
    finally:
        DESKTOP.close_module(panel)
        slicer.mrmlScene.Clear(0)
        DESKTOP.spin()
    assert DESKTOP.take_errors() == []


@contextmanager
def doubles_in(panel: Any) -> Iterator[None]:
    """Jobs of the panel run in a worker that knows the test method."""
    install()
    make = functools.partial(WorkerProcess, module="helpers.worker_with_doubles", onPath=(str(TESTS),))
    panel.logic.queue._makeProcess = make
    try:
        yield
    finally:
        METHODS.pop(NAME, None)


def start_double(panel: Any, case: Path, out: Path, **changes: Any) -> Any:
    """Queue a job of the test method; it runs until it is told to stop unless ``steps`` are few."""
    return panel.controller.reconstruct(double_job(case, out, **{"steps": 600, "step_s": 0.05, **changes}))


def choose_folder(panel: Any, case: Path) -> None:
    """Type a folder into section 1 and wait for its runs."""
    panel.ui.inputFolderEdit.currentPath = str(case)
    DESKTOP.wait_for(lambda: panel.ui.runTree.topLevelItemCount == 2, what="two runs")
    DESKTOP.wait_for(lambda: not panel.input.problem(), what="the end of the search")
    DESKTOP.spin()


def set_up_quick_job(panel: Any, case: Path, results: Path) -> None:
    """Everything that a quick reconstruction needs, by the panel's widgets."""
    choose_folder(panel, case)
    ui = panel.ui
    ui.methodCombo.currentIndex = ui.methodCombo.findData("fdk")
    ui.outputFolderEdit.currentPath = str(results)
    ui.viewsSpinBox.value = 12
    ui.sizeSpinBox.value = 24
    ui.registrationCombo.currentIndex = ui.registrationCombo.findData("none")
    ui.reportCheckBox.checked = False
    DESKTOP.spin()


def row_texts(tree: Any) -> list[list[str]]:
    """What a list shows."""
    rows = [tree.topLevelItem(row) for row in range(tree.topLevelItemCount)]
    return [[row.text(column) for column in range(tree.columnCount)] for row in rows]
