"""One association with a peer (PS3.8) that neither hangs nor talks about patients."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from DSAReconLib.dicom.network.endpoint import DicomPeer
from DSAReconLib.dicom.network.transfer import CONNECT_TIMEOUT_S, interruptible, missing_package
from DSAReconLib.errors import NetworkError
from DSAReconLib.progress import Progress

if TYPE_CHECKING:
    from pynetdicom.association import Association as NetworkAssociation
    from pynetdicom.presentation import PresentationContext

Result = TypeVar("Result")

MAX_CONTEXTS = 128  # PS3.8 section 9.3.2.2: odd numbers up to 255
_PDU_BYTES = 1 << 18


class Association:
    """Open association; a context manager that releases it, or breaks the line after an error.

    Parameters
    ----------
    peer
        Where to.
    contexts
        Presentation contexts to propose, at most :data:`MAX_CONTEXTS`.
    progress
        Asked whether the user cancelled.
    roles
        SOP classes for which this side is the one that stores (C-GET).
    on_store
        Handler of a C-STORE request (event -> status).
    on_bytes
        Told how many bytes went over the line.

    Raises
    ------
    NetworkError
        The peer cannot be reached, TLS fails, or it rejects the association.
    DependencyError
        ``pynetdicom`` is not installed.
    """

    def __init__(
        self,
        peer: DicomPeer,
        contexts: Sequence[PresentationContext],
        progress: Progress,
        *,
        roles: Sequence[str] = (),
        on_store: Callable[[Any], int] | None = None,
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._peer, self._progress, self._on_bytes = peer, progress, on_bytes
        self._last_byte_s = time.monotonic()
        _prepare_package()
        interruptible(lambda stop: _probe(peer), progress)
        self._net: NetworkAssociation = None  # type: ignore[assignment] # known once the line is open
        interruptible(lambda stop: self._open(contexts, roles, on_store), progress, give_up=self._break)
        if not self._net.is_established:
            raise _rejection(peer, self._net)

    def __enter__(self) -> Association:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is not None:
            self._break()
            return
        with suppress(NetworkError):  # everything has been said; an impolite end changes nothing
            self.call(self._net.release)

    def accepts(self, sop_class: str, transfer_syntax: str) -> bool:
        """Whether objects of this class and encoding may be sent."""
        return any(
            context.abstract_syntax == sop_class and transfer_syntax in (context.transfer_syntax or ())
            for context in self._net.accepted_contexts
        )

    def call(self, work: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Result of a method of the network association (see :meth:`network`), given up when the line is dead."""
        self._last_byte_s = time.monotonic()
        try:
            return interruptible(
                lambda stop: work(*arguments, **options), self._progress, watch=self._check_alive, give_up=self._break
            )
        except RuntimeError as error:  # the package's word for an association that is no more
            raise self.broken() from error

    def broken(self) -> NetworkError:
        """The error for an association that the peer has ended, which shows as an answer without a status."""
        return NetworkError(
            f"{self._peer.label} broke the connection.",
            code="network.broken",
            hint="Try again; what came already is kept.",
        )

    @property
    def network(self) -> NetworkAssociation:
        """The association of ``pynetdicom``."""
        return self._net

    def _open(
        self,
        contexts: Sequence[PresentationContext],
        roles: Sequence[str],
        on_store: Callable[[Any], int] | None,
    ) -> None:
        from pynetdicom import AE, build_role, evt

        entity = AE(ae_title=self._peer.calling_aet)
        entity.connection_timeout = entity.acse_timeout = min(CONNECT_TIMEOUT_S, self._peer.timeout_s)
        # A large object may take longer than any limit for a whole message, so the silence is timed, in _check_alive.
        entity.dimse_timeout = None
        entity.network_timeout = None
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._take_line),
            (evt.EVT_DATA_SENT, self._note_bytes),
            (evt.EVT_DATA_RECV, self._note_bytes),
        ]
        if on_store is not None:
            handlers.append((evt.EVT_C_STORE, on_store))
        self._net = entity.associate(
            self._peer.host,
            self._peer.port,
            contexts=list(contexts),
            ae_title=self._peer.called_aet,
            max_pdu=_PDU_BYTES,
            ext_neg=[build_role(uid, scp_role=True) for uid in roles],
            tls_args=(self._peer.tls.context(), self._peer.host) if self._peer.tls else None,
            evt_handlers=handlers,
        )

    def _take_line(self, event: Any) -> None:
        """Know what to break, and limit how long a thread of the package waits for a peer that does not read."""
        self._net = event.assoc
        event.assoc.dul.socket.socket.settimeout(self._peer.timeout_s)

    def _note_bytes(self, event: Any) -> None:
        self._last_byte_s = time.monotonic()
        self._on_bytes(len(event.data))

    def _check_alive(self) -> None:
        if time.monotonic() - self._last_byte_s > self._peer.timeout_s:
            raise NetworkError(
                f"{self._peer.label} did not answer in time.",
                code="network.timeout",
                hint="Try again later, or wait longer with --timeout.",
            )

    def _break(self) -> None:
        """End the line without asking; threads that wait for it wake up."""
        if self._net is None:
            return
        line = getattr(self._net.dul.socket, "socket", None)
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        threading.Thread(target=self._net.abort, daemon=True).start()


def _prepare_package() -> None:
    """Keep objects on disk instead of in memory, and what peers say out of the log: it may name patients."""
    try:
        from pynetdicom import _config
    except ImportError as error:
        raise missing_package("pynetdicom", error) from error
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.STORE_SEND_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


def _probe(peer: DicomPeer) -> None:
    """Connect once to learn in plain words what the package only logs."""
    import ssl

    try:
        with socket.create_connection((peer.host, peer.port), CONNECT_TIMEOUT_S) as line:
            if peer.tls is not None:
                with peer.tls.context().wrap_socket(line, server_hostname=peer.host):
                    pass
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or (error.reason or "handshake failed").lower().replace("_", " ")
        raise NetworkError(
            f"No trusted TLS connection to {peer.label}: {reason}.",
            code="network.tls",
            hint="Name the hospital's certificate with --ca-file; a client certificate may be needed, too.",
        ) from error
    except TimeoutError as error:
        raise NetworkError(
            f"{peer.label} did not answer in time.", code="network.timeout", hint="Check address and port."
        ) from error
    except OSError as error:
        raise NetworkError(
            f"{peer.label} cannot be reached: {(error.strerror or 'no connection').lower()}.",
            code="network.unreachable",
            hint="Check address and port, and whether the server runs.",
        ) from error


def _rejection(peer: DicomPeer, association: NetworkAssociation) -> NetworkError:
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        return NetworkError(
            f"{peer.label} rejected the association: {answer.reason_str}.",
            code="network.denied",
            hint=f"It may not know {peer.calling_aet!r} (--aet), or have another name than {peer.called_aet!r} "
            "(--called-aet).",
        )
    served = not association.rejected_contexts
    return NetworkError(
        f"{peer.label} {'did not open an association' if served else 'offers none of the services that this needs'}.",
        code="network.denied",
        hint="Check whether it is a DICOM port (and with or without TLS), and what the server permits.",
    )
