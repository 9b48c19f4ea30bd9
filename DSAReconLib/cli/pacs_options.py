"""Options of the commands that talk to a PACS, and the archive that they describe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from DSAReconLib.dicom.network.credentials import (
    FILE_VARIABLE,
    PASSWORD_VARIABLE,
    TOKEN_VARIABLE,
    USER_VARIABLE,
    read_credentials,
)
from DSAReconLib.dicom.network.endpoint import DicomPeer, DicomWebServer, Tls, check_protection, parse_host_port
from DSAReconLib.dicom.network.transfer import DEFAULT_TIMEOUT_S, Archive
from DSAReconLib.errors import ConfigError

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

EPILOG = (
    f"Credentials for DICOMweb: the variables {USER_VARIABLE} and {PASSWORD_VARIABLE},\n"
    f"or {TOKEN_VARIABLE}, or a file (--credentials or {FILE_VARIABLE})\n"
    "with the lines 'user = ...' and 'password = ...', or 'token = ...', that only you may read."
)


def add_archive_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the archive is and how the line is protected."""
    server = parser.add_argument_group("server")
    which = server.add_mutually_exclusive_group(required=True)
    which.add_argument("--dicomweb", metavar="URL", help="DICOMweb service, e.g. https://pacs.example/dicom-web")
    which.add_argument("--dimse", metavar="HOST:PORT", help="DICOM network node")
    server.add_argument("--called-aet", metavar="AET", help="application entity title of the node (ANY-SCP)")
    server.add_argument("--aet", metavar="AET", help="application entity title of this side (DSARECON)")
    server.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help=f"seconds of silence until the server counts as dead ({DEFAULT_TIMEOUT_S:.0f})",
    )
    security = parser.add_argument_group("security")
    security.add_argument("--credentials", metavar="FILE", type=Path, help="file with user and password, or token")
    security.add_argument("--ca-file", metavar="PEM", type=Path, help="certificates to trust instead of the usual ones")
    security.add_argument("--client-certificate", metavar="PEM", type=Path, help="certificate of this side")
    security.add_argument("--client-key", metavar="PEM", type=Path, help="its key, if it is in a file of its own")
    security.add_argument("--tls", action="store_true", help="use TLS with --dimse (https says so with --dicomweb)")
    security.add_argument(
        "--insecure", action="store_true", help="permit a line without TLS to another machine (patient data!)"
    )


def archive_from_arguments(args: argparse.Namespace, console: Console) -> Archive:
    """The archive that the options describe.

    Raises
    ------
    ConfigError
        Options contradict each other, credentials are unusable, or the line would not be protected.
    DependencyError
        The package for the protocol is not installed.
    """
    tls = Tls(args.ca_file, args.client_certificate, args.client_key)
    if args.dicomweb is not None:
        _refuse(args, "--dicomweb", "tls", "aet", "called_aet")
        server = DicomWebServer(args.dicomweb, read_credentials(args.credentials), tls, args.timeout)
        _check(server, args.insecure, console)
        from DSAReconLib.dicom.network.dicomweb import DicomWebArchive

        return DicomWebArchive(server)
    _refuse(args, "--dimse", "credentials")
    if tls != Tls() and not args.tls:
        raise ConfigError("Certificates are given, but --dimse does not use TLS.", hint="Add --tls.")
    host, port = parse_host_port(args.dimse)
    titles = {"called_aet": args.called_aet, "calling_aet": args.aet}
    named = {name: title for name, title in titles.items() if title is not None}
    peer = DicomPeer(host, port, tls=tls if args.tls else None, timeout_s=args.timeout, **named)
    _check(peer, args.insecure, console)
    from DSAReconLib.dicom.network.dimse import DimseArchive

    return DimseArchive(peer)


def _refuse(args: argparse.Namespace, protocol: str, *names: str) -> None:
    for name in names:
        if getattr(args, name):
            raise ConfigError(f"--{name.replace('_', '-')} has no meaning with {protocol}.", hint="Leave it out.")


def _check(server: DicomWebServer | DicomPeer, insecure: bool, console: Console) -> None:
    warning = check_protection(server, insecure=insecure)
    if warning:
        console.progress.warn("network.insecure", warning)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0 is expected; got {text!r}")
    return value
