"""The .ui file and the sources of the extension, checked without any Qt."""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

MODULE = Path(__file__).resolve().parents[3] / "DSARecon"
UI = ElementTree.parse(MODULE / "Resources" / "UI" / "DSARecon.ui").getroot()
SOURCES = sorted([*MODULE.glob("*.py"), *MODULE.glob("DSAReconWidgets/*.py")])
NAMES = {widget.get("name"): widget.get("class") for widget in UI.iter("widget")}

BINDABLE = {
    "bool": {"QCheckBox", "QPushButton"},
    "int": {"QSpinBox", "QSlider"},
    "float": {"QDoubleSpinBox", "ctkSliderWidget"},
    "str": {"QLineEdit"},
    "Path": {"ctkPathLineEdit"},
    "node": {"qMRMLNodeComboBox"},
}
"""What Slicer 5.12 binds by SlicerParameterName (exact classes)."""

ONLY_PYSIDE = {
    r"\bPySide[26]?\b": "Slicer has PythonQt",
    r"\bQt(Core|Gui|Widgets)\b": "everything is in qt",
    r"\bqt\.(Signal|Slot|Property|ClassInfo)\b": "PythonQt has no own signals; use DSAReconWidgets.signal",
    r"\.exec_\(": "gone in Qt 6",
    r"\bQRegExp\b|\bQTextCodec\b|\bQDesktopWidget\b": "gone in Qt 6",
    r"\.(isChecked|isEnabled|isVisible|toPlainText|currentText|currentIndex|objectName|windowTitle|value|text)\(\)":
        "a property in PythonQt, not a method",
    r"\bsender\(\)": "not reliable in PythonQt",
    r"addWidget\([^)]*\w+=": "PythonQt takes no keyword arguments",
}  # fmt: skip
METHODS_OF_OTHERS = re.compile(
    r"currentIndex\(\)\.row\(\)|mimeData|\.text\(\)\s*#|clipboard\(\)\.text\(\)|environment\.value\(|item\w*\.text\("
)


def _parameters():
    """Name -> annotation text of every parameter."""
    tree = ast.parse((MODULE / "DSAReconWidgets" / "parameters.py").read_text(encoding="utf-8"))
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "DSAReconParameterNode")
    return {field.target.id: ast.unparse(field.annotation) for field in node.body if isinstance(field, ast.AnnAssign)}


def _bound():
    for widget in UI.iter("widget"):
        for prop in widget.findall("property"):
            if prop.get("name") == "SlicerParameterName":
                yield widget, prop.findtext("string")


def _kind(annotation):
    if "slicer.vtkMRML" in annotation:
        return "node"
    return re.sub(r"^Annotated\[(\w+),.*", r"\1", annotation)


def test_object_names_are_unique():
    names = [element.get("name") for kind in ("widget", "layout", "spacer") for element in UI.iter(kind)]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_bound_parameter_exists_and_fits_its_widget():
    parameters = _parameters()
    bound = list(_bound())
    assert len(bound) > 12
    for widget, name in bound:
        assert name in parameters, f"{widget.get('name')} is bound to {name}"
        assert "Choice" not in parameters[name], f"{name}: Slicer would fill the list with raw values"
        assert widget.get("class") in BINDABLE[_kind(parameters[name])], (widget.get("name"), parameters[name])
        if widget.get("class") == "ctkSliderWidget":
            assert "WithinRange" in parameters[name], f"{name}: Slicer refuses a slider without limits"


def test_no_parameter_is_bound_twice():
    names = [name for _widget, name in _bound()]
    assert len(names) == len(set(names))


def test_custom_widgets_are_declared():
    declared = {custom.findtext("class") for custom in UI.iter("customwidget")}
    used = {name for name in NAMES.values() if name.startswith(("ctk", "qMRML"))}
    assert used == declared


def test_selectors_get_the_scene():
    receivers = {connection.findtext("receiver") for connection in UI.iter("connection")}
    assert {name for name, kind in NAMES.items() if kind == "qMRMLNodeComboBox"} == receivers
    assert {connection.findtext("sender") for connection in UI.iter("connection")} == {UI.find("widget").get("name")}


def test_widgets_used_in_the_code_are_in_the_file():
    used = set()
    for path in SOURCES:
        used |= set(re.findall(r"\bui\.(\w+)", path.read_text(encoding="utf-8")))
    assert sorted(used - set(NAMES)) == []
    assert len(used) > 60


def test_controls_in_the_file_are_used_in_the_code():
    used = set()
    for path in SOURCES:
        used |= set(re.findall(r"\bui\.(\w+)", path.read_text(encoding="utf-8")))
    used |= {widget.get("name") for widget, _name in _bound()}
    passive = ("Label", "Caption", "Title", "Layout", "Group", "Section", "Frame", "Card", "Options", "Controls")
    controls = {
        name for name, kind in NAMES.items() if not name.endswith(passive) and kind not in ("qMRMLWidget", "QWidget")
    }
    assert sorted(controls - used) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_use_nothing_that_only_pyside_has(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        code = METHODS_OF_OTHERS.sub("", line)
        for pattern, reason in ONLY_PYSIDE.items():
            assert not re.search(pattern, code), f"{path.name}:{number}: {reason}: {line.strip()}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_import_nothing_that_slicer_lacks(path):
    allowed = {
        "slicer", "qt", "ctk", "vtk", "numpy", "DICOMLib", "DSAReconLib", "DSAReconWidgets", "scipy", "pydicom",
        "SimpleITK", "SampleData", "PyTorchUtils", "packaging", "pip",
    }  # fmt: skip
    import sys

    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {name}"
