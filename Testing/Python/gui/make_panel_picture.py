"""Picture of the real panel with a case and its results: ``python -m gui.make_panel_picture CASE RESULT… --out PNG``.

Run it in ``Testing/Python``, with the repository in ``PYTHONPATH``. CASE is a folder with
``mask.dcm`` and ``fill.dcm``; the last RESULT is shown.
"""

# ruff: noqa: E402 - qt and the module exist once the stand-in for the desktop was made

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from helpers.panel import DESKTOP, opened_panel

WIDTH_PX = 420
GAP_PX = 12
PAGE_COLOR = "#efefef"

import qt
import slicer


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with opened_panel() as panel:
        fill_panel(panel, options.case, options.results)
        picture = two_columns(panel, "displaySection")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        if not picture.save(str(options.out)):
            raise SystemExit(f"{options.out} cannot be written")


def fill_panel(panel: Any, case: Path, results: list[Path]) -> None:
    """Use every section as a user would."""
    ui, node = panel.ui, panel.parameterNode
    node.fillRun = panel.logic.loadRun(case / "fill.dcm")
    node.maskRun = panel.logic.loadRun(case / "mask.dcm")
    node.outputFolder = Path("/data/DSARecon")
    ui.viewsSpinBox.value = 40
    for result in results:
        panel.openResult(result)
        DESKTOP.spin(0.2)
    ui.surfaceCheckBox.checked = ui.arrivalCheckBox.checked = True
    ui.surfaceOpacitySlider.value = 60
    DESKTOP.spin(0.2)
    ui.placePointButton.checked = True
    node.probePoint.AddControlPoint(*_early_point(panel.result.surface))
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutDual3DView)
    slicer.app.layoutManager().threeDWidget(1).threeDView().renderWindow().SetSize(512, 512)
    ui.novelViewButton.click()
    DESKTOP.wait_for(lambda: "mean difference" in ui.picturesLabel.text, timeout_s=120, what="the comparison")
    DESKTOP.spin(1.0)


def _early_point(surface: Any) -> tuple[float, float, float]:
    """A point of the surface where the contrast medium arrives early."""
    import numpy as np

    times = slicer.util.arrayFromModelPointData(surface, "arrival_time")
    return tuple(float(value) for value in surface.GetPolyData().GetPoint(int(np.argsort(times)[len(times) // 20])))


def two_columns(panel: Any, split_at: str) -> Any:
    """QPixmap of the panel: what is above a section on the left, the rest on the right."""
    page = panel.parent
    page.layout().setContentsMargins(4, 4, 4, 4)
    for _repeat in range(4):  # labels that wrap settle their height in steps
        page.resize(WIDTH_PX, page.layout().totalHeightForWidth(WIDTH_PX))
        DESKTOP.spin(0.05)
    whole = page.grab()
    split = getattr(panel.ui, split_at).mapTo(page, qt.QPoint(0, 0)).y() - 3
    bottom = panel.ui.compareSection.mapTo(page, qt.QPoint(0, 0)).y() + panel.ui.compareSection.height + 6
    height = max(split, bottom - split)
    picture = qt.QPixmap(2 * whole.width() + GAP_PX, height)
    picture.fill(qt.QColor(PAGE_COLOR))
    painter = qt.QPainter(picture)
    painter.drawPixmap(0, 0, whole.copy(0, 0, whole.width(), split))
    painter.drawPixmap(whole.width() + GAP_PX, 0, whole.copy(0, split, whole.width(), bottom - split))
    painter.end()
    return picture


if __name__ == "__main__":
    main()
