"""Text files of the report that lie beside the code."""

from importlib.resources import files


def resource(name: str) -> str:
    """Content of a file of this package."""
    return (files("DSAReconLib.evaluation.report") / name).read_text(encoding="utf-8")
