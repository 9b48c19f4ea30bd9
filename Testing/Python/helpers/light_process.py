"""Slicer with only its bundled packages: ``python -m helpers.light_process CASE RESULT``.

Every import of a package that Slicer lacks raises, and is told at the end. Opens the panel, lets
the DICOM plugin examine and load the runs in CASE, and shows and measures the result folder RESULT.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

BLOCKED = ("torch", "numba", "llvmlite", "skimage", "trimesh", "matplotlib", "tqdm", "gsplat")
OF_OTHERS = ("tqdm",)
"""Pydicom, which Slicer brings, shows its downloads with it, and does without."""


class Blocker:
    """Finder that knows the blocked packages only, and remembers who was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, *_: Any) -> None:
        """Refuse what is blocked."""
        if name.partition(".")[0] in BLOCKED:
            self.asked += [name] if name not in OF_OTHERS else []
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def load_runs(case: Path) -> list[str]:
    """Names of the sequences that the DICOM plugin loaded."""
    import slicer
    from helpers.dicom_browser import DicomDatabase, DICOMLoadable, DICOMPlugin

    files = [str(case / name) for name in ("mask.dcm", "fill.dcm")]
    library = types.ModuleType("DICOMLib")
    library.DICOMLoadable, library.DICOMPlugin = DICOMLoadable, DICOMPlugin
    sys.modules["DICOMLib"] = library
    slicer.dicomDatabase = DicomDatabase(files)
    slicer.util.setSliceViewerLayers = lambda **_: None
    vars(slicer.modules.sequences).update(
        setToolBarActiveBrowserNode=lambda node: None, showSequenceBrowser=lambda node: None
    )
    from DICOMRotationalXAPlugin import DICOMRotationalXAPluginClass

    plugin = DICOMRotationalXAPluginClass()
    offered = plugin.examineForImport([[path] for path in files])
    return [loadable.name for loadable in offered if loadable.selected and plugin.load(loadable)]


def main(case: Path, result: Path) -> None:
    """Do it all; prints ``light`` if nothing failed and nothing was asked for."""
    blocker = Blocker()
    sys.meta_path.insert(0, blocker)
    from helpers.slicer_desktop import desktop

    application = desktop()
    panel = application.open_module()
    assert len(load_runs(case)) == 2
    application.wait_for(lambda: panel.ui.reconstructButton.enabled, what="the pair of runs")
    panel.openResult(result)
    application.spin(0.1)
    ui, shown = panel.ui, panel.result
    assert shown.rendering.GetVisibility()
    ui.surfaceCheckBox.checked = ui.arrivalCheckBox.checked = True
    ui.placePointButton.checked = True
    panel.parameterNode.probePoint.AddControlPoint(*shown.surface.GetPolyData().GetPoint(0))
    ui.timeSlider.value = shown.times_s[2]
    application.wait_for(lambda: "Arrival" in ui.curveLabel.text, what="the curve")
    assert shown.browser.GetSelectedItemNumber() == 2
    application.close_module(panel)
    assert application.take_errors() == []
    assert blocker.asked == [], blocker.asked
    print("light")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
