"""Debian's Orthanc in a network namespace of its own, so that nothing outside can reach it.

Orthanc binds all addresses whatever its configuration says. In the namespace there is only a
loopback interface; commands that shall talk to it are run inside as well.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
HTTP_PORT, DICOM_PORT = 8042, 4242
URL = f"http://127.0.0.1:{HTTP_PORT}/dicom-web"
PEER = f"127.0.0.1:{DICOM_PORT}"
USER, PASSWORD = "dsarecon", "correct horse"
_PR_SET_PDEATHSIG = 1
_START_S = 30
_ESTABLISHED = "01"
_WITH_LOOPBACK = (sys.executable, str(Path(__file__).with_name("with_loopback.py")))


@lru_cache(maxsize=1)
def namespace_command() -> tuple[str, ...]:
    """Command that runs another one in a new network namespace; empty if that is not permitted."""
    if not sys.platform.startswith("linux") or not all(map(shutil.which, ("unshare", "nsenter"))):
        return ()
    for command in (("unshare", "--net"), ("unshare", "--user", "--map-root-user", "--net")):
        probe = [*command, *_WITH_LOOPBACK, "true"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return command
    return ()


def requires_orthanc() -> None:
    """Skip where the archive or the isolation is missing."""
    if shutil.which("Orthanc", path=os.environ.get("PATH", "") + ":/usr/sbin") is None or not PLUGIN.exists():
        pytest.skip("needs Orthanc with its DICOMweb plugin")
    if not namespace_command():
        pytest.skip("may not make a network namespace, and outside Orthanc would listen on all addresses")


class Orthanc:
    """The running archive; ``run`` starts commands next to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "orthanc.json"
        settings.write_text(json.dumps(_settings(folder)))
        settings.chmod(0o600)
        self.log = folder / "orthanc.log"
        with open(self.log, "wb") as log:
            # Each step replaces the former one, so that the archive has the number of this process.
            self.process = subprocess.Popen(
                [*namespace_command(), *_WITH_LOOPBACK, _program(), str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run ``python ...`` in the namespace, credentials in the environment."""
        return subprocess.run(
            self.inside(sys.executable, *command),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=client_environment(**environment),
            cwd=ROOT,
        )

    def dsarecon(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
        """Run ``dsarecon ...`` in the namespace."""
        return self.run("-m", "DSAReconLib", *map(str, arguments), **environment)

    def inside(self, *command: str) -> list[str]:
        """``command`` so that it runs in the archive's namespaces."""
        user = ("--user", "--preserve-credentials") if "--user" in namespace_command() else ()
        return ["nsenter", "--target", str(self.process.pid), *user, "--net", *command]

    def wait_for_client(self) -> None:
        """Until a client has connected (the kernel accepts it also while the archive is halted)."""
        ports = {f"{port:04X}" for port in (HTTP_PORT, DICOM_PORT)}
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            lines = Path(f"/proc/{self.process.pid}/net/tcp").read_text().splitlines()[1:]
            fields = [line.split() for line in lines]
            if any(field[1].split(":")[1] in ports and field[3] == _ESTABLISHED for field in fields):
                return
            time.sleep(0.05)
        raise RuntimeError("no client connected")

    def kill(self) -> None:
        """End the archive and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def _wait_until_ready(self) -> None:
        probe = (
            "import socket, sys, time\n"
            f"end = time.monotonic() + {_START_S}\n"
            f"for port in ({HTTP_PORT}, {DICOM_PORT}):\n"
            "    while True:\n"
            "        try:\n"
            "            socket.create_connection(('127.0.0.1', port), 1).close()\n"
            "            break\n"
            "        except OSError:\n"
            "            if time.monotonic() > end: sys.exit(1)\n"
            "            time.sleep(0.1)\n"
        )
        while not self._in_own_namespace():
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        if self.process.poll() is not None or self.run("-c", probe).returncode != 0:
            raise RuntimeError(f"Orthanc did not start: {self.log.read_text(errors='replace')[-2000:]}")

    def _in_own_namespace(self) -> bool:
        """Whether the child is behind ``unshare`` and has become Orthanc."""
        base = Path("/proc", str(self.process.pid))
        try:
            return os.readlink(base / "ns/net") != os.readlink("/proc/self/ns/net") and (
                "Orthanc" in (base / "comm").read_text()
            )
        except OSError:
            return False


def client_environment(**extra: str) -> dict[str, str]:
    """Environment of a command: right credentials unless ``extra`` has others."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DSARECON_PACS_")}
    environment |= {"DSARECON_PACS_USER": USER, "DSARECON_PACS_PASSWORD": PASSWORD, "PYTHONPATH": str(ROOT)}
    return environment | extra


def _settings(folder: Path) -> dict:
    return {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "TemporaryDirectory": str(folder),
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "HttpPort": HTTP_PORT,
        "DicomPort": DICOM_PORT,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomTlsEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "HttpServerEnabled": True,
        "OverwriteInstances": True,
    }


def _program() -> str:
    return shutil.which("Orthanc", path=os.environ.get("PATH", "") + ":/usr/sbin") or "Orthanc"


def _die_with_parent() -> None:
    """A test run that is killed leaves no archive behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
