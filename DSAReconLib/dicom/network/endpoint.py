"""Addresses of servers, how the line is protected, and what may travel unprotected."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from DSAReconLib.dicom.network.credentials import Credentials, check_private
from DSAReconLib.dicom.network.transfer import DEFAULT_TIMEOUT_S
from DSAReconLib.errors import ConfigError

if TYPE_CHECKING:
    import ssl

_HOST_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]/@]+):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Tls:
    """Files for TLS.

    Parameters
    ----------
    ca_file
        Certificates (PEM) to trust instead of the usual ones.
    certificate, key
        Certificate of this client and its key (PEM, not encrypted, private to the user);
        the key may be in the file of the certificate.
    """

    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if self.key and not self.certificate:
            raise ConfigError("A client key is given without a certificate.", hint="Add --client-certificate.")
        for path, what in ((self.ca_file, "CA file"), (self.certificate, "Client certificate")):
            if path is not None and not path.is_file():
                raise ConfigError(f"{what} {path} is not a file.", hint="Check the path.")
        if self.certificate:
            check_private(self.key or self.certificate, "Client key")

    def context(self) -> ssl.SSLContext:
        """SSL context of a client that checks the server's certificate and name."""
        import ssl

        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate:
                # A function as password, so that an encrypted key is an error and not a question at the terminal.
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ConfigError(
                f"The CA file or client certificate cannot be used: {getattr(error, 'reason', None) or error}.",
                hint="PEM files are expected; the key must not be encrypted.",
            ) from error
        return context


@dataclass(frozen=True)
class DicomWebServer:
    """A DICOMweb service; ``url`` without user and password, e.g. ``https://pacs.example/dicom-web``."""

    url: str
    credentials: Credentials | None = None
    tls: Tls = field(default_factory=Tls)
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            valid = False
        if not valid:
            raise ConfigError(
                "The DICOMweb address is not an http or https URL.", hint="Write e.g. https://pacs.example/dicom-web."
            )
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                "The DICOMweb address holds a user name or password.",
                hint="Credentials come from the environment or a file (see docs/pacs.md).",
            )
        if parts.query or parts.fragment:
            raise ConfigError("The DICOMweb address holds '?' or '#'.", hint="Give the address of the service only.")
        if self.tls.certificate or self.tls.ca_file:
            self.tls.context()

    @property
    def host(self) -> str:
        """Host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def label(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def encrypted(self) -> bool:
        """Whether the line is protected by TLS."""
        return urlsplit(self.url).scheme == "https"


@dataclass(frozen=True)
class DicomPeer:
    """An application entity of the DICOM network; TLS if ``tls`` is not ``None``."""

    host: str
    port: int
    called_aet: str = "ANY-SCP"
    calling_aet: str = "DSARECON"
    tls: Tls | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ConfigError(f"Port {self.port} does not exist.", hint="Ports lie between 1 and 65535.")
        for title in (self.called_aet, self.calling_aet):
            if not title.strip() or len(title) > 16 or "\\" in title or not title.isascii() or not title.isprintable():
                raise ConfigError(
                    f"{title!r} is no application entity title.", hint="A title has 1 to 16 ASCII characters."
                )

    @property
    def label(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    @property
    def encrypted(self) -> bool:
        """Whether the line is protected by TLS."""
        return self.tls is not None


def parse_host_port(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` (IPv6 addresses in brackets)."""
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ConfigError("The DICOM address is not HOST:PORT.", hint="Write e.g. pacs.example:11112.")
    return match["host"].strip("[]"), int(match["port"])


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its address or the name ``localhost``; other names are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_protection(server: DicomWebServer | DicomPeer, *, insecure: bool) -> str:
    """Warning about an unprotected line, or an empty text if there is nothing to say.

    Raises
    ------
    ConfigError
        The line leaves this machine without TLS and ``insecure`` is off.
    """
    if server.encrypted or is_loopback(server.host):
        return ""
    if not insecure:
        raise ConfigError(
            f"The connection to {server.label} would not be encrypted.",
            hint="Use https (or --tls with --dimse); --insecure sends patient data in the clear.",
        )
    password = isinstance(server, DicomWebServer) and server.credentials is not None
    return f"The connection to {server.label} is not encrypted: patient data{' and password' * password} can be read."
