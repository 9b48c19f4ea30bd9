"""The user's pages name messages, controls, files and pictures that exist."""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted((ROOT / "docs" / "slicer").glob("*.md"))
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
_SHORTEST_FRAGMENT = 8


def _messages():
    """All texts of the program, with a gap where values go."""
    texts = []
    for folder in ("DSARecon", "DSAReconLib"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    texts.append("".join(p.value if isinstance(p, ast.Constant) else "\0" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(re.sub(r"\{[^}]*\}", "\0", node.value))
    return "\1".join(texts)


def _quoted():
    """Pieces of the quoted messages between the gaps."""
    lines = (ROOT / "docs" / "slicer" / "problems.md").read_text(encoding="utf-8").splitlines()
    quotes = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    return [piece.strip() for quote in quotes for piece in quote.split("…")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_of_the_pages_exist(page):
    targets = [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_quoted_messages_are_those_of_the_program():
    known = _messages()
    pieces = [piece for piece in _quoted() if len(piece) >= _SHORTEST_FRAGMENT]
    assert len(pieces) > 20
    unknown = []
    for piece in pieces:
        # a quote may join two messages
        parts = re.split(r"(?<=[.:;]) (?=[A-Z])", piece)
        unknown += [part for part in parts if part.strip(" .;") not in known and piece not in known]
    assert unknown == []


def test_controls_that_the_tutorial_names_are_in_the_panel():
    ui = ElementTree.parse(ROOT / "DSARecon" / "Resources" / "UI" / "DSARecon.ui")
    texts = {element.text for element in ui.iter("string") if element.text}
    sources = _messages()
    page = (ROOT / "docs" / "slicer" / "tutorial.md").read_text(encoding="utf-8")
    panel = page[page.index("## 3.") : page.index("## Without the panel")]
    named = set(re.findall(r"\*\*([^*]+)\*\*", panel))
    assert len(named) > 10
    assert {name for name in named if name not in texts and name not in sources} == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "slicer" / "tutorial.md"], ids=lambda p: p.name)
def test_pages_say_that_it_is_no_medical_device(page):
    assert "Not a medical device" in page.read_text(encoding="utf-8")
