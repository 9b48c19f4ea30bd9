"""Which layout a path has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from DSAReconLib.errors import DatasetError
from DSAReconLib.io.datasets.case import DatasetCase
from DSAReconLib.io.datasets.fourdrgs import is_fourdrgs, read_fourdrgs
from DSAReconLib.io.datasets.togs import is_togs, read_togs

LAYOUTS = ("4drgs", "togs")
_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], DatasetCase]], ...] = (
    (is_fourdrgs, read_fourdrgs),
    (is_togs, read_togs),
)


def find_dataset(paths: Sequence[str | Path]) -> Path | None:
    """The folder of the one data set that the paths name; ``None`` if they name none.

    A path may be the folder or its ``transforms*.json``.

    Raises
    ------
    DatasetError
        Several cases, or a case beside other files.
    """
    folders = {_folder(Path(path).expanduser()) for path in paths}
    found = sorted(folder for folder in folders if folder is not None)
    if not found:
        return None
    if len(folders) > 1:
        raise DatasetError(
            f"{found[0]} is a case by itself; other paths cannot be part of it.", hint="Name one case at a time."
        )
    return found[0]


def read_dataset(folder: Path) -> DatasetCase:
    """Read the case in a folder; DatasetError if it has none of the layouts or is damaged."""
    for recognized, read in _READERS:
        if recognized(folder):
            return read(folder)
    raise DatasetError(f"{folder} holds no transforms.json or transforms_train.json.")


def _folder(path: Path) -> Path | None:
    folder = path.parent if path.name.startswith("transforms") and path.suffix == ".json" else path
    return folder if is_fourdrgs(folder) or is_togs(folder) else None
