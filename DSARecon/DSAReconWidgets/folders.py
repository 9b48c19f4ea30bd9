"""Where DSAReconLib is found: beside this package when installed, one folder up in a source checkout."""

from __future__ import annotations

import sys
from pathlib import Path

_MODULE_FOLDER = Path(__file__).resolve().parent.parent


def makeLibraryImportable() -> None:
    """Put a source checkout on ``sys.path``, so that ``import DSAReconLib`` works from an additional module path."""
    checkout = _MODULE_FOLDER.parent
    if (checkout / "DSAReconLib" / "__init__.py").is_file() and str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))


def libraryFolder() -> Path:
    """Folder that holds DSAReconLib: what a child process needs in its ``PYTHONPATH``."""
    import DSAReconLib

    return Path(DSAReconLib.__file__).resolve().parent.parent


def moduleFolder() -> Path:
    """Folder that holds DSARecon.py."""
    return _MODULE_FOLDER


def resource(name: str) -> Path:
    """File in the module's ``Resources`` folder."""
    return _MODULE_FOLDER / "Resources" / name
