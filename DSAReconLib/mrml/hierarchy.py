"""Where nodes stand in the subject hierarchy: one folder per result, under the study of its run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from DSAReconLib.mrml.context import SceneContext

UIDS_ATTRIBUTE = "DICOM.instanceUIDs"
"""SOP Instance UIDs that a node was loaded from, separated by spaces (Slicer's convention)."""

_FOLDER_ATTRIBUTE = "DSARecon.Result"


def place(context: SceneContext, key: str, name: str, nodes: Iterable[Any], source_uids: Iterable[str]) -> int:
    """Put nodes into one new folder; its item ID.

    ``key`` marks the folder (see :func:`remove_folder`); ``source_uids`` are the runs whose
    study, if it is in the scene, the folder goes to.
    """
    hierarchy = context.subject_hierarchy
    parent = _study_of(context, set(source_uids))
    folder = hierarchy.CreateFolderItem(parent, name)
    hierarchy.SetItemAttribute(folder, _FOLDER_ATTRIBUTE, key)
    for node in nodes:
        hierarchy.CreateItem(folder, node)
    hierarchy.SetItemExpanded(folder, False)
    return int(folder)


def folder_of(context: SceneContext, key: str) -> int:
    """Item ID of the folder with that key; 0 if there is none."""
    import vtk

    hierarchy = context.subject_hierarchy
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    for number in range(items.GetNumberOfIds()):
        item = items.GetId(number)
        marked = hierarchy.HasItemAttribute(item, _FOLDER_ATTRIBUTE)
        if marked and hierarchy.GetItemAttribute(item, _FOLDER_ATTRIBUTE) == key:
            return int(item)
    return 0


def remove_folder(context: SceneContext, key: str) -> None:
    """Remove the folder with that key, not what the user put into it."""
    folder = folder_of(context, key)
    if folder:
        context.subject_hierarchy.RemoveItem(folder, False, False)


def remove_node(context: SceneContext, node: Any) -> None:
    """Remove a node from the scene with its item, which a scene without the desktop's plugins would keep."""
    item = context.subject_hierarchy.GetItemByDataNode(node)
    if item:
        context.subject_hierarchy.RemoveItem(item, False, False)
    context.scene.RemoveNode(node)


def _study_of(context: SceneContext, uids: set[str]) -> int:
    """Item of the study (or other parent) of a node that was loaded from one of the UIDs; else the scene."""
    hierarchy = context.subject_hierarchy
    scene_item = hierarchy.GetSceneItemID()
    for node in context.scene.GetNodes():
        if not uids.intersection((node.GetAttribute(UIDS_ATTRIBUTE) or "").split()):
            continue
        item = hierarchy.GetItemByDataNode(node)
        if item:
            return int(hierarchy.GetItemAncestorAtLevel(item, "Study") or hierarchy.GetItemParent(item) or scene_item)
    return int(scene_item)
