"""What Slicer's DICOM browser offers to a plugin: a database over files on disk, and the base classes."""

from __future__ import annotations

import importlib
import sys
import types
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pydicom

MODULE_FOLDER = Path(__file__).resolve().parents[3] / "DSARecon"
_SERIES_TAG = "0020,000e"


class DicomDatabase:
    """``slicer.dicomDatabase`` over some files; counts how often a value was asked for."""

    isOpen = True

    def __init__(self, files=()):
        self._headers, self.values_asked = {}, 0
        self.add(files)

    def add(self, files):
        for path in map(str, files):
            self._headers[path] = pydicom.dcmread(path, stop_before_pixels=True, force=True)

    def fileValue(self, path, tag):
        self.values_asked += 1
        header = self._headers.get(str(path))
        if header is None:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        group, element = (int(part, 16) for part in tag.split(","))
        found = header.get((group, element))
        if found is None or found.VR == "SQ" or found.value is None:
            return ""
        values = found.value if found.VM > 1 else [found.value]
        return "\\".join(str(value) for value in values)

    def seriesForFile(self, path):
        return self.fileValue(path, _SERIES_TAG) if str(path) in self._headers else ""

    def studyForSeries(self, series):
        return next((str(h.StudyInstanceUID) for h in self._headers.values() if h.SeriesInstanceUID == series), "")

    def seriesForStudy(self, study):
        members = (h for h in self._headers.values() if h.get("StudyInstanceUID") == study)
        return tuple(dict.fromkeys(str(h.SeriesInstanceUID) for h in members))

    def filesForSeries(self, series, hits=-1):
        return tuple(path for path, h in self._headers.items() if h.get("SeriesInstanceUID") == series)

    def fileForInstance(self, uid):
        return next((path for path, h in self._headers.items() if h.get("SOPInstanceUID") == uid), "")


class DICOMLoadable:
    """What a plugin offers to load."""

    def __init__(self):
        self.files, self.name, self.tooltip, self.warning = [], "", "", ""
        self.selected, self.confidence = False, 0.5


class DICOMPlugin:
    """Base of the plugins, as far as ours uses it."""

    def __init__(self):
        self.loadType = ""
        self.tags = {"seriesDescription": "0008,103E", "seriesNumber": "0020,0011"}

    def addSeriesInSubjectHierarchy(self, loadable, node):
        """Put a node below its study and patient, with Slicer's own logic."""
        import slicer

        uid = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName()
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        header = {name: slicer.dicomDatabase.fileValue(loadable.files[0], tag) for name, tag in _HIERARCHY_TAGS.items()}
        hierarchy.SetItemUID(item, uid, header["series"])
        slicer.vtkSlicerSubjectHierarchyModuleLogic.InsertDicomSeriesInHierarchy(
            hierarchy, header["patient"], header["study"], header["series"]
        )


_HIERARCHY_TAGS = {"patient": "0010,0020", "study": "0020,000D", "series": _SERIES_TAG}


@contextmanager
def dicom_browser(monkeypatch, files=(), *, context=None):
    """Our plugin in a Slicer made of slicer-core: ``.plugin .database .parent .shown .errors``.

    ``context`` is the scene to load into (``DSAReconLib.mrml.core_application.core_context``).
    """
    import slicer

    from DSAReconLib.mrml.context import SceneContext

    browser = SimpleNamespace(database=DicomDatabase(files), parent=SimpleNamespace(), shown=[], errors=[])
    library = types.ModuleType("DICOMLib")
    library.DICOMLoadable, library.DICOMPlugin = DICOMLoadable, DICOMPlugin
    translation = types.ModuleType("slicer.i18n")
    translation.tr = lambda text: text
    monkeypatch.setitem(sys.modules, "DICOMLib", library)
    monkeypatch.setitem(sys.modules, "slicer.i18n", translation)
    monkeypatch.syspath_prepend(str(MODULE_FOLDER))
    sequences = SimpleNamespace(
        setToolBarActiveBrowserNode=lambda node: None,
        showSequenceBrowser=lambda node: browser.shown.append(node),
    )
    monkeypatch.setattr(slicer, "modules", SimpleNamespace(sequences=sequences), raising=False)
    monkeypatch.setattr(slicer, "dicomDatabase", browser.database, raising=False)
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: browser.errors.append(text), raising=False)
    monkeypatch.setattr(slicer.util, "setSliceViewerLayers", lambda **_: None, raising=False)
    if context is not None:
        monkeypatch.setattr(slicer, "mrmlScene", context.scene, raising=False)
        monkeypatch.setattr(SceneContext, "of_desktop", classmethod(lambda cls: context))
    sys.modules.pop("DICOMRotationalXAPlugin", None)
    try:
        module = importlib.import_module("DICOMRotationalXAPlugin")
        module.DICOMRotationalXAPlugin(browser.parent)
        browser.plugin = slicer.modules.dicomPlugins["DICOMRotationalXAPlugin"]()
        yield browser
    finally:
        sys.modules.pop("DICOMRotationalXAPlugin", None)
