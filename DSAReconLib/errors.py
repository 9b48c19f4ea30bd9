"""Errors that reach a user: one sentence for what happened, one for what to do."""

from __future__ import annotations


class DSAReconError(Exception):
    """An error of the world (files, data, machine), ready to be shown to a user.

    Parameters
    ----------
    code
        Stable machine-readable name, e.g. ``"dicom.truncated"``; the part before
        the dot names the stage.
    message
        One sentence: the file or parameter, what was found, what was expected.
    hint
        One sentence: what the user can do. May be empty.
    """

    default_code = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class DicomRunError(DSAReconError):
    """A file is not a usable rotational run."""

    default_code = "dicom.run"


class PairingError(DSAReconError):
    """Mask and fill run do not belong together, or one of them is missing."""

    default_code = "acquisition.pairing"


class GeometryError(DSAReconError):
    """Distances, angles or detector description are missing or impossible."""

    default_code = "geometry.invalid"


class ConfigError(DSAReconError):
    """A parameter of a method or a command has an unusable value."""

    default_code = "config.invalid"


class DependencyError(DSAReconError):
    """An optional package or device that this step needs is not there."""

    default_code = "dependency.missing"


class ResourceError(DSAReconError):
    """Disk, memory or permissions do not suffice."""

    default_code = "resource.exhausted"


class ResultError(DSAReconError):
    """A folder is not a result folder, or it is damaged."""

    default_code = "result.invalid"


class NetworkError(DSAReconError):
    """A server cannot be reached, refuses, or does not do what was asked."""

    default_code = "network.failed"


class DatasetError(DSAReconError):
    """A folder in the layout of another program is incomplete, damaged or cannot hold the data."""

    default_code = "dataset.invalid"


class JobCancelled(DSAReconError):
    """The user (or the end of the parent process) cancelled the job.

    ``checkpoint`` is the folder from which the job can go on, if there is one.
    """

    default_code = "job.cancelled"

    def __init__(
        self, message: str = "Cancelled.", *, hint: str = "", code: str | None = None, checkpoint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.checkpoint = checkpoint
