"""One sentence for whatever goes wrong between us and a web server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from DSAReconLib.dicom.network.multipart import IncompleteAnswer
from DSAReconLib.errors import NetworkError

Result = TypeVar("Result")

_BUSY = (408, 429, 502, 503, 504)
_DENIED = (401, 403, 407)


class TemporaryError(Exception):
    """May succeed if tried again; ``final`` is the error to show otherwise."""

    def __init__(self, final: NetworkError) -> None:
        super().__init__(final.message)
        self.final = final


def explained(call: Callable[[], Result], label: str) -> Result:
    """Result of an HTTP call; its errors become :class:`TemporaryError` or NetworkError."""
    import requests

    try:
        return call()
    except IncompleteAnswer as error:
        raise TemporaryError(_broken(label)) from error
    except requests.exceptions.JSONDecodeError as error:
        raise _no_dicomweb(label) from error
    except requests.exceptions.RequestException as error:
        raise _of_request(error, label) from error


def refusal(label: str, status: int) -> NetworkError:
    """The error for a status that says that the request is not to be repeated."""
    if status in (401, 407):
        return NetworkError(
            f"{label} refuses user and password (HTTP {status}).",
            code="network.denied",
            hint="Check the credentials in the environment or the credentials file.",
        )
    if status == 403:
        return NetworkError(
            f"{label} does not permit this to this user (HTTP 403).",
            code="network.denied",
            hint="Ask its administrator, or check the credentials.",
        )
    if status == 404:
        return NetworkError(
            f"{label} does not know this study or series (or this user may not see it).",
            code="network.not_found",
            hint="Check the UID and the path of the DICOMweb address.",
        )
    return NetworkError(f"{label} answered HTTP {status}.", hint="Look into the log of the server.")


def status_error(label: str, status: int) -> NetworkError | TemporaryError:
    """The error for an HTTP status of 300 or more."""
    error = _redirect(label) if status < 400 else refusal(label, status)
    return TemporaryError(error) if status in _BUSY else error


def _of_request(error: Exception, label: str) -> NetworkError | TemporaryError:
    """The order matters: some of these classes are children of others."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return status_error(label, error.response.status_code)
    if isinstance(error, exceptions.SSLError):
        return NetworkError(
            f"No trusted TLS connection to {label}: {_reason(error)}.",
            code="network.tls",
            hint="Name the hospital's certificate with --ca-file; a client certificate may be needed, too.",
        )
    if isinstance(error, exceptions.Timeout) or "timed out" in str(error).lower():
        return NetworkError(
            f"{label} did not answer in time.",
            code="network.timeout",
            hint="Try again later, or wait longer with --timeout.",
        )
    if isinstance(error, exceptions.ProxyError):
        return NetworkError(f"The proxy on the way to {label} cannot be used.", code="network.unreachable")
    if isinstance(error, exceptions.ChunkedEncodingError | exceptions.ContentDecodingError) or _was_broken(error):
        return TemporaryError(_broken(label))
    if isinstance(error, exceptions.ConnectionError):
        return NetworkError(
            f"{label} cannot be reached: {_reason(error)}.",
            code="network.unreachable",
            hint="Check address and port, and whether the server runs.",
        )
    if isinstance(error, exceptions.TooManyRedirects):
        return _redirect(label)
    return NetworkError(f"The exchange with {label} failed ({type(error).__name__}).")


def _broken(label: str) -> NetworkError:
    return NetworkError(
        f"{label} broke the connection.", code="network.broken", hint="Try again; what came already is kept."
    )


def _redirect(label: str) -> NetworkError:
    return NetworkError(
        f"{label} points to another address, which is not followed.",
        code="network.redirect",
        hint="Give the final address of the service.",
    )


def _no_dicomweb(label: str) -> NetworkError:
    return NetworkError(
        f"{label} does not answer as a DICOMweb service.",
        code="network.answer",
        hint="Check the path of the address, often /dicom-web.",
    )


def _was_broken(error: BaseException) -> bool:
    return any(isinstance(cause, ConnectionResetError | BrokenPipeError) or _lost(cause) for cause in _causes(error))


def _lost(cause: BaseException) -> bool:
    return type(cause).__name__ in ("RemoteDisconnected", "IncompleteRead", "ProtocolError")


def _reason(error: BaseException) -> str:
    """The operating system's or TLS library's own words, without the address that ``requests`` adds."""
    import ssl

    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate not accepted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return (cause.reason or "handshake failed").lower().replace("_", " ")
    named = [cause for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror]
    if named:
        return str(named[-1].strerror).lower()
    return "no connection"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and everything that it was made of."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or current in found:
            continue
        found.append(current)
        waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    return found
