"""Which part of the body the source shows, as the code that result objects need."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from DSAReconLib.dicom.attributes import Attributes
from DSAReconLib.dicom.results.elements import code, item

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Body Part Examined to the code of CID 4031 (SNOMED CT)
_REGIONS = {
    "HEAD": ("69536005", "Head"),
    "SKULL": ("89546000", "Skull"),
    "BRAIN": ("69536005", "Head"),
    "HEADNECK": ("774007", "Head and Neck"),
    "NECK": ("45048000", "Neck"),
    "CHEST": ("816094009", "Chest"),
    "HEART": ("80891009", "Heart"),
    "ABDOMEN": ("818981001", "Abdomen"),
    "PELVIS": ("816092008", "Pelvis"),
    "SPINE": ("421060004", "Spine"),
    "LEG": ("61685007", "Lower limb"),
    "EXTREMITY": ("66019005", "Extremity"),
    "ARM": ("53120007", "Upper limb"),
    "HAND": ("85562004", "Hand"),
    "FOOT": ("56459004", "Foot"),
}
_UNKNOWN = ("38266002", "Entire body")
_LATERALITIES = {"L", "R", "U", "B"}


def anatomy_item(source: Dataset) -> Dataset:
    """Frame Anatomy Sequence item: as the source says, "Entire body" if it does not."""
    header = Attributes(source)
    laterality = header.text("FrameLaterality") or header.text("ImageLaterality") or header.text("Laterality")
    coded = _coded_region(header)
    value, meaning = _REGIONS.get(header.text("BodyPartExamined").upper().replace(" ", ""), _UNKNOWN)
    region = coded if coded is not None else code(value, "SCT", meaning)
    return item(AnatomicRegionSequence=[region], FrameLaterality=laterality if laterality in _LATERALITIES else "U")


def _coded_region(header: Attributes) -> Dataset | None:
    """The source's own code, of the image or of its first frame."""
    shared = header.item("SharedFunctionalGroupsSequence")
    for place in (header, shared.item("FrameAnatomySequence") if shared else None):
        region = place.item("AnatomicRegionSequence") if place else None
        if region is not None and region.text("CodeValue"):
            return copy.deepcopy(region.dataset)
    return None
