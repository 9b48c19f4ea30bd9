"""DSARecon: from rotational X-ray angiography to living 4D vessels, inside 3D Slicer."""

from __future__ import annotations

from typing import Any

import slicer
from DSAReconWidgets.logic import DSAReconLogic
from DSAReconWidgets.selftest import DSAReconTest
from DSAReconWidgets.widget import DSAReconWidget
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

__all__ = ["DSARecon", "DSAReconLogic", "DSAReconTest", "DSAReconWidget"]


class DSARecon(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("DSA Reconstruction")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Tomographic Reconstruction")]
        parent.dependencies = ["Sequences", "VolumeRendering", "Markups", "Plots"]
        parent.contributors = ["The DSARecon developers"]
        parent.helpText = _(
            "Reconstructs the contrast in the vessels, in space and time, from a rotational X-ray angiography "
            "(DSA) acquisition: a mask run and a fill run of a C-arm. Shows the result as a 4D volume, as arrival "
            "times and from views that were never taken.<br><br><b>Research software, not a medical device.</b>"
        )
        parent.helpText += self.getDefaultModuleDocumentationLink()
        parent.acknowledgementText = _("Methods and sources are named in the documentation of each method.")
        slicer.app.connect("startupCompleted()", _registerSampleData)


def _registerSampleData() -> None:
    from DSAReconWidgets.sample_data import registerSampleData

    registerSampleData()
