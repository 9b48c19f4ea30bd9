"""Rewrite the lists of files in the CMakeLists.txt of the extension; with --check only compare them with the disk."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("DSARecon", "DSAReconLib")
_LEFT_OUT = {"CMakeLists.txt", "README.md"}


def package_files(folder: Path) -> tuple[list[str], list[str]]:
    """(scripts, resources) below a folder as sorted POSIX paths relative to it.

    Left out: caches, hidden files, tests, CMake and readme files.
    """
    scripts: list[str] = []
    resources: list[str] = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith((".", "__pycache__")) or part == "Testing" for part in parts)
        if path.is_file() and not hidden and path.name not in _LEFT_OUT:
            (scripts if path.suffix == ".py" else resources).append("/".join(parts))
    return scripts, resources


def listed(text: str, name: str) -> list[str]:
    """Entries of ``set(NAME ...)`` in the text of a CMakeLists.txt."""
    return _block(name).search(text)[1].split()  # type: ignore[index]


def rewritten(text: str, name: str, files: list[str]) -> str:
    """The text with other entries in ``set(NAME ...)``."""
    lines = "".join(f"  {file}\n" for file in files)
    return _block(name).sub(f"set({name}\n{lines}  )", text)


def up_to_date(folder: str) -> str:
    """What the CMakeLists.txt of a folder should hold."""
    text = (ROOT / folder / "CMakeLists.txt").read_text(encoding="utf-8")
    for kind, files in zip(("SCRIPTS", "RESOURCES"), package_files(ROOT / folder), strict=True):
        text = rewritten(text, f"{folder.upper()}_{kind}", files)
    return text


def main(arguments: list[str]) -> int:
    """Rewrite (or with ``--check`` compare); 1 if something had to change."""
    changed = 0
    for folder in FOLDERS:
        path = ROOT / folder / "CMakeLists.txt"
        if path.read_text(encoding="utf-8") != (text := up_to_date(folder)):
            changed = 1
            print(f"{path.relative_to(ROOT)} is out of date" if "--check" in arguments else f"rewrote {path}")
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8", newline="\n")
    return changed if "--check" in arguments else 0


def _block(name: str) -> re.Pattern[str]:
    return re.compile(rf"set\({name}\n((?:  \S+\n)*)  \)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
