"""What the extensions index of Slicer asks of an extension, checked without it."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "DSARecon"
ENTRY = ROOT / "DSARecon.json"
SOURCE_URL = "https://github.com/DSARecon/SlicerDSARecon"
RAW_URL = "https://raw.githubusercontent.com/DSARecon/SlicerDSARecon/main/"
VARIABLES = ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
_ONE_LINE = re.compile(r'^set\(EXTENSION_([A-Z]+) "([^"\n]*)"\)$', re.M)
ALLOWED_AT_FILE_SCOPE = {"slicer", "vtk", "qt", "ctk", "numpy", "scipy", "SimpleITK", "DICOMLib", "SampleData"}
OWN_PACKAGES = {"DSAReconLib", "DSAReconWidgets"}
# Makes the library of a source checkout importable; nothing else may run when a file is imported.
_ALLOWED_CALLS = {("DSAReconWidgets/__init__.py", "makeLibraryImportable()")}


def _metadata():
    return dict(_ONE_LINE.findall((ROOT / "CMakeLists.txt").read_text(encoding="utf-8")))


def _module_sources():
    return sorted(path for path in MODULE.rglob("*.py") if "__pycache__" not in path.parts)


def _tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True)
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


# Description of the extension


def test_every_description_is_one_line_that_the_index_can_read():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert set(_metadata()) == set(VARIABLES)
    assert len(re.findall(r"EXTENSION_[A-Z]+ ", text)) == len(VARIABLES)
    assert all(value.strip() == value and value for value in _metadata().values())


def test_names_agree_everywhere():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    (project,) = re.findall(r"^project\((\w+)\)$", text, re.M)
    assert project == ENTRY.stem == "DSARecon"
    assert not project.startswith("Slicer")
    assert (MODULE / f"{project}.py").is_file()
    entry = json.loads(ENTRY.read_text(encoding="utf-8"))
    assert entry["scm_url"] == f"{SOURCE_URL}.git"
    assert entry["scm_url"].rsplit("/", 1)[1].startswith("Slicer")
    assert _metadata()["HOMEPAGE"] == SOURCE_URL
    assert entry["build_dependencies"] == _metadata()["DEPENDS"].split() == ["PyTorch"]


def test_urls_of_pictures_are_raw_and_their_files_exist():
    pictures = [_metadata()["ICONURL"], *_metadata()["SCREENSHOTURLS"].split()]
    for url in pictures:
        assert url.startswith(RAW_URL), url
        path = ROOT / url.removeprefix(RAW_URL)
        assert path.is_file(), url
        assert path.read_bytes().startswith(b"\x89PNG"), url


def test_description_says_what_it_is_and_that_it_is_no_medical_device():
    description = _metadata()["DESCRIPTION"]
    assert "not a medical device" in description
    assert "patents" in description
    assert len(description) < 500


# Catalogue entry: the rules of schema v1.0.2, in our words

_RULES = {
    "$schema": lambda v: v.endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#"),
    "category": lambda v: v == "Tomographic Reconstruction",
    "scm_url": lambda v: bool(re.fullmatch(r"https://[\w./-]+\.git", v)),
    "scm_revision": lambda v: v == "main",
    "scm_type": lambda v: v in ("git", "local"),
    "build_dependencies": lambda v: isinstance(v, list) and all(isinstance(name, str) and name for name in v),
    "build_subdirectory": lambda v: v == ".",
    "dicom_support_rule": lambda v: isinstance(v, str) and _evaluates(v),
    "enabled": lambda v: isinstance(v, bool),
    "tier": lambda v: type(v) is int and 1 <= v <= 5,
}
_REQUIRED = {"$schema", "category", "scm_url"}


def _problems(entry):
    unknown = [f"unknown key {key}" for key in entry if key not in _RULES]
    missing = [f"missing key {key}" for key in sorted(_REQUIRED - entry.keys())]
    wrong = [f"{key} is {value!r}" for key, value in entry.items() if key in _RULES and not _RULES[key](value)]
    return unknown + missing + wrong


def _evaluates(rule):
    """Whether a support rule (comparisons joined by 'or') is true for XA and false for CT."""

    def outcome(**attributes):
        tree = ast.parse(rule, mode="eval")
        assert all(isinstance(node, (ast.Expression, ast.BoolOp, ast.Or, ast.Compare, ast.Eq, ast.Name, ast.Load,
                                     ast.Constant)) for node in ast.walk(tree))  # fmt: skip
        return eval(compile(tree, "rule", "eval"), {"__builtins__": {}}, attributes)

    enhanced = "1.2.840.10008.5.1.4.1.1.12.1.1"
    return (
        outcome(Modality="XA", SOPClassUID="")
        and outcome(Modality="", SOPClassUID=enhanced)
        and not outcome(Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    )


def test_catalogue_entry_keeps_the_rules():
    assert _problems(json.loads(ENTRY.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"homepage": "x"}, "unknown key homepage"),
        ({"tier": 9}, "tier is 9"),
        ({"tier": True}, "tier is True"),
        ({"scm_url": "git@host:x.git"}, "scm_url is 'git@host:x.git'"),
        ({"dicom_support_rule": "Modality == 'CT'"}, "dicom_support_rule is"),
    ],
)
def test_rules_of_the_catalogue_find_mistakes(change, problem):
    entry = json.loads(ENTRY.read_text(encoding="utf-8"))
    assert any(problem in found for found in _problems({**entry, **change}))


def test_required_keys_are_missed():
    assert _problems({}) == ["missing key $schema", "missing key category", "missing key scm_url"]


# Sources


def test_text_files_have_unix_line_ends():
    endings = {".py", ".txt", ".cmake", ".md", ".json", ".ui", ".toml", ".cu", ".html", ".css", ".js", ".yaml", ".svg"}
    bad = [path for path in _tracked() if path.suffix in endings and b"\r" in path.read_bytes()]
    assert not bad


def test_repository_is_small_enough_for_the_index():
    assert sum(path.stat().st_size for path in _tracked()) < 50e6


def test_module_imports_only_what_slicer_brings_at_file_scope():
    found = []
    for path in _module_sources():
        for node in _file_scope(ast.parse(path.read_text(encoding="utf-8")).body):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names}
            bad = roots - ALLOWED_AT_FILE_SCOPE - OWN_PACKAGES - set(sys.stdlib_module_names)
            found += [f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in sorted(bad)]
    assert not found


def test_module_runs_nothing_at_file_scope():
    found = []
    for path in _module_sources():
        for node in _file_scope(ast.parse(path.read_text(encoding="utf-8")).body):
            allowed = (str(path.relative_to(MODULE)), ast.unparse(node)) in _ALLOWED_CALLS
            if not (isinstance(node, _DECLARATIONS) or _is_docstring(node) or allowed):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:60]}")
    assert not found


_DECLARATIONS = (*(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign),)


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _file_scope(body):
    """Statements that run on import, also inside ``if`` and ``try``, but not those for programs and type checkers."""
    for node in body:
        if isinstance(node, ast.If):
            if ast.unparse(node.test) not in ("TYPE_CHECKING", "__name__ == '__main__'"):
                yield from _file_scope(node.body)
            yield from _file_scope(node.orelse)
        elif isinstance(node, ast.Try):
            for block in (node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody):
                yield from _file_scope(block)
        else:
            yield node


def test_lint_of_file_scope_finds_hidden_statements():
    text = "try:\n    import torch\nexcept ImportError:\n    print('x')\n"
    text += "if TYPE_CHECKING:\n    import numba\nif __name__ == '__main__':\n    main()\nif True:\n    go()\n"
    found = [ast.unparse(node) for node in _file_scope(ast.parse(text).body)]
    assert found == ["import torch", "print('x')", "go()"]


def test_module_does_not_use_what_only_one_qt_has():
    banned = re.compile(r"\bexec_\(|\bQRegExp\b|\bQTextCodec\b|\bPySide\w*|\bPyQt\w*|\bQtWidgets\.|\bQtCore\.")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _module_sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if banned.search(line)
    ]
    assert not found


def test_torch_is_never_installed_by_pip_nor_imported_in_the_application():
    heavy = re.compile(r"^\s*(import|from) (torch|numba|skimage|trimesh|matplotlib)\b", re.M)
    direct = re.compile(r"pip_install\([^)]*torch")
    for path in _module_sources():
        text = path.read_text(encoding="utf-8")
        assert not heavy.search(text), path
        assert not direct.search(text), path


def test_files_of_the_module_stay_readable():
    long = [f"{path.relative_to(ROOT)}" for path in _module_sources() if path.read_text("utf-8").count("\n") > 400]
    assert not long


def test_requirements_do_not_touch_what_slicer_brings():
    bundled = {"numpy", "scipy", "simpleitk", "pydicom", "vtk", "torch", "requests", "pillow", "setuptools"}
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0].lower() for line in lines if line and line[0] not in "#-"]
    assert wanted
    assert not bundled & set(wanted)
    assert not [line for line in lines if "==" in line]
