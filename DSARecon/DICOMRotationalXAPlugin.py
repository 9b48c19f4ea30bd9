"""DICOM plugin: rotational X-ray runs (classic and enhanced XA) as sequences with their angles and times."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import slicer
from DICOMLib import DICOMLoadable, DICOMPlugin
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from DSAReconWidgets.dicom_objects import Partners, RunObject

    from DSAReconLib.acquisition.run import RotationalRun
    from DSAReconLib.acquisition.summary import RunSummary


class DICOMRotationalXAPluginClass(DICOMPlugin):
    """Recognises rotational runs by their header alone, pairs mask and fill, and loads them.

    One loadable per DICOM object. The partner of a run is a reference of its loadable, so
    that the DICOM browser itself offers to load both when only one was selected.
    """

    confidence = 0.9

    def __init__(self) -> None:
        super().__init__()
        import DSAReconWidgets  # noqa: F401  makes DSAReconLib importable in a source checkout
        from DSAReconWidgets.dicom_objects import TAGS, RunFinder

        self.loadType = _("Rotational X-ray run")
        self.tags.update(TAGS)
        self._finder = RunFinder(lambda path, tag: slicer.dicomDatabase.fileValue(path, tag))

    def examineForImport(self, fileLists: list[list[str]]) -> list[DICOMLoadable]:
        """Loadables for lists of files (one list per series); no pixels are read."""
        from DSAReconWidgets.dicom_objects import partnersOf

        offered = self._finder.find(path for files in fileLists for path in files)
        if not offered:
            return []
        paths = {run.path for run in offered}
        others = [run for run in self._finder.find(self._filesOfStudies(offered)) if run.path not in paths]
        partners = partnersOf([*offered, *others])
        return [self._loadable(run, partners[run.path]) for run in offered]

    def examineFiles(self, files: list[str]) -> list[DICOMLoadable]:
        """Loadables for the files of one series."""
        return self.examineForImport([files])

    def load(self, loadable: DICOMLoadable) -> bool:
        """Load the run, or mask and fill run, of an object; a problem is shown and gives False."""
        from DSAReconLib.dicom import read_runs
        from DSAReconLib.errors import DSAReconError

        try:
            # pixels made for display cannot be reconstructed, but they can be looked at
            runs = read_runs(loadable.files[0], overrides=loadable.assumed, accept_display_values=True)
        except DSAReconError as error:
            logging.error("%s: %s", error.code, error.message)
            slicer.util.errorDisplay("\n\n".join(filter(None, (error.message, error.hint))))
            return False
        for run in runs:
            self._addToScene(loadable, run, several=len(runs) > 1)
        return True

    # What the DICOM browser shows

    def _loadable(self, run: RunObject, partners: Partners) -> DICOMLoadable:
        loadable = DICOMLoadable()
        loadable.files = [run.path]
        loadable.name = f"{self._title(run)} ({self._facts(run)})"
        loadable.tooltip = self._tooltip(run, partners)
        loadable.warning = self._warning(run, partners)
        loadable.confidence = self.confidence
        loadable.selected = run.isReadable  # else the one of another plugin, which shows grey values as they are
        loadable.nodeName, loadable.assumed = self._title(run), dict(run.assumed)
        loadable.referencedInstanceUIDs = [partner.sop_instance_uid for partner in partners.all]
        return loadable

    def _title(self, run: RunObject) -> str:
        number, description = (
            slicer.dicomDatabase.fileValue(run.path, self.tags[name]).strip()
            for name in ("seriesNumber", "seriesDescription")
        )
        return ": ".join(filter(None, (number, description or _("Rotational run"))))

    @staticmethod
    def _facts(run: RunObject) -> str:
        last = run.runs[-1]
        frames = " + ".join(str(part.frames) for part in run.runs)
        return _("{role}, {arc:.0f}°, {frames} frames, {duration:.1f} s").format(
            role=_rolesText(run.roles), arc=last.arc_deg, frames=frames, duration=last.duration_s
        )

    @staticmethod
    def _tooltip(run: RunObject, partners: Partners) -> str:
        last = run.runs[-1]
        lines = [
            _("{role}, {rows} x {columns} pixels").format(
                role=_explained(run.roles), rows=last.rows, columns=last.columns
            ),
            _("{first} to {last}, {tilt}").format(
                first=_angle(last.primary_deg[0], "LAO", "RAO"),
                last=_angle(last.primary_deg[1], "LAO", "RAO"),
                tilt=_angle(sum(last.secondary_deg) / 2, "CRA", "CAU"),
            ),
            _("Frame every {milliseconds:.0f} ms").format(milliseconds=1000 * last.frame_time_s),
            _("Source to isocenter {sod:.0f} mm, source to detector {sdd:.0f} mm").format(
                sod=last.sod_mm, sdd=last.sdd_mm
            ),
        ]
        lines += [_("Mask run: {label}").format(label=_label(mask)) for mask in partners.masks]
        lines += [_("Fill run: {label}").format(label=_label(fill)) for fill in partners.fills]
        if not partners.certain:
            lines.append(_("The headers do not tell mask from fill; the contrast in the frames will."))
        return "\n".join(lines)

    @staticmethod
    def _warning(run: RunObject, partners: Partners) -> str:
        lines = [_("It can be looked at, but not reconstructed: {reason}").format(reason=text) for text in run.missing]
        lines += [message for _code, message in run.warnings]
        if not run.runs[0].decodable:
            lines.append(_("The encoding {encoding} cannot be decoded here.").format(encoding=run.runs[0].encoding))
        if partners.problem:
            lines.append(_("It cannot be reconstructed yet: {problem}").format(problem=partners.problem))
        return "\n".join(lines)

    # Database and scene

    def _filesOfStudies(self, runs: list[RunObject]) -> list[str]:
        """Angiographic files of the other series in the studies of some runs, as far as the database knows them."""
        database = slicer.dicomDatabase
        files: list[str] = []
        own = {database.seriesForFile(run.path) for run in runs} - {""}
        for study in {database.studyForSeries(series) for series in own} - {""}:
            for series in database.seriesForStudy(study):
                inSeries = [] if series in own else list(database.filesForSeries(series))
                if inSeries and self._finder.mayBeAngiography(inSeries[0]):
                    files += inSeries
        return files

    def _addToScene(self, loadable: DICOMLoadable, run: RotationalRun, *, several: bool) -> None:
        from DSAReconWidgets.runs import FILE_ATTRIBUTE, ROLE_ATTRIBUTE

        from DSAReconLib.mrml.context import SceneContext
        from DSAReconLib.mrml.hierarchy import UIDS_ATTRIBUTE
        from DSAReconLib.mrml.run import load_run

        role = run.attributes.get("role", "unknown")
        name = f"{loadable.nodeName} ({_roleText(role)})" if several else loadable.nodeName
        nodes = load_run(SceneContext.of_desktop(), run, name=name)
        nodes.sequence.SetAttribute(FILE_ATTRIBUTE, loadable.files[0])
        if role in ("mask", "fill"):
            nodes.sequence.SetAttribute(ROLE_ATTRIBUTE, role)
        for node in (nodes.sequence, nodes.proxy):
            node.SetAttribute(UIDS_ATTRIBUTE, run.sop_instance_uid)
        self.addSeriesInSubjectHierarchy(loadable, nodes.proxy)
        _moveIntoStudy(nodes.proxy, run.study_instance_uid)
        slicer.modules.sequences.setToolBarActiveBrowserNode(nodes.browser)
        slicer.modules.sequences.showSequenceBrowser(nodes.browser)
        slicer.util.setSliceViewerLayers(background=nodes.proxy, fit=True)


class DICOMRotationalXAPlugin:
    """Hidden module by which the application finds the plugin."""

    def __init__(self, parent: Any) -> None:
        parent.title = _("DICOM Rotational X-ray Angiography Plugin")
        parent.categories = ["Developer Tools.DICOM Plugins"]
        parent.contributors = ["The DSARecon developers"]
        parent.helpText = _("Loads rotational X-ray runs of C-arms for the DSARecon module. No module panel.")
        parent.acknowledgementText = ""
        parent.hidden = True
        # The DICOM module may start later than this one.
        if not hasattr(slicer.modules, "dicomPlugins"):
            slicer.modules.dicomPlugins = {}
        slicer.modules.dicomPlugins["DICOMRotationalXAPlugin"] = DICOMRotationalXAPluginClass


def _moveIntoStudy(node: Any, studyInstanceUid: str) -> None:
    """Mask and fill of one object share a series, of which Slicer puts only the first item into the study."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.GetItemByUID(slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName(), studyInstanceUid)
    if study:
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)


def _roleText(role: str) -> str:
    return {"mask": _("mask run"), "fill": _("fill run")}.get(role, _("rotational run"))


def _rolesText(roles: tuple[str, ...]) -> str:
    if len(roles) == 1:
        return _roleText(roles[0])
    return _("mask and fill run") if set(roles) == {"mask", "fill"} else _("two rotational runs")


def _explained(roles: tuple[str, ...]) -> str:
    if roles == ("mask",):
        return _("Mask run (without contrast medium)")
    if roles == ("fill",):
        return _("Fill run (with contrast medium)")
    return _rolesText(roles).capitalize()


def _angle(degrees: float, positive: str, negative: str) -> str:
    """As it is said in the angiography suite: ``RAO 100°``."""
    return f"{negative if round(degrees) < 0 else positive} {abs(degrees):.0f}°"


def _label(run: RunSummary) -> str:
    return f"{run.description} ({run.label})" if run.description else run.label
