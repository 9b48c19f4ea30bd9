"""User name and password or token, from the environment or a private file, never from the command line."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from DSAReconLib.errors import ConfigError

USER_VARIABLE = "DSARECON_PACS_USER"
PASSWORD_VARIABLE = "DSARECON_PACS_PASSWORD"
TOKEN_VARIABLE = "DSARECON_PACS_TOKEN"
FILE_VARIABLE = "DSARECON_PACS_CREDENTIALS"

_KEYS = ("user", "password", "token")


@dataclass(frozen=True)
class Credentials:
    """Either user and password (HTTP Basic) or a bearer token. Its text shows no secret."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if bool(self.token) == bool(self.user):
            raise ConfigError(
                "Credentials need either a user with a password or a token.",
                hint=f"Set {USER_VARIABLE} and {PASSWORD_VARIABLE}, or {TOKEN_VARIABLE}.",
            )
        control = any(ord(character) < 32 for character in self.user + self.password + self.token)
        if control or ":" in self.user or not self.token.isascii():
            raise ConfigError("The credentials hold a character that HTTP does not allow (a line break, or ':').")


def read_credentials(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """Credentials of a file, else of the environment, else ``None``.

    Parameters
    ----------
    file
        Text file with lines ``user = ...`` and ``password = ...``, or ``token = ...``; lines with ``#`` are
        comments. Without it, the variable ``DSARECON_PACS_CREDENTIALS`` may name one.
    environment
        Where to look for ``DSARECON_PACS_USER``, ``_PASSWORD`` and ``_TOKEN``.

    Raises
    ------
    ConfigError
        The file is unreadable, others may read it, or something is missing. No message shows a secret.
    """
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    if file is not None:
        return Credentials(**_entries(file))
    found = {
        "user": environment.get(USER_VARIABLE, ""),
        "password": environment.get(PASSWORD_VARIABLE, ""),
        "token": environment.get(TOKEN_VARIABLE, ""),
    }
    return Credentials(**found) if found["user"] or found["token"] else None


def check_private(path: Path, what: str) -> None:
    """Refuse a secret that other users of the machine may read.

    Raises
    ------
    ConfigError
        The file does not exist, or its mode or owner leaves it to others (not checked on Windows).
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    if os.name != "posix":
        return
    if state.st_uid not in (os.getuid(), 0):
        raise ConfigError(f"{what} {path} belongs to another user.", hint="Use a file of your own.")
    if stat.S_IMODE(state.st_mode) & 0o077:
        raise ConfigError(
            f"{what} {path} may be read by other users (mode {stat.S_IMODE(state.st_mode):03o}, expected 600).",
            hint=f"Run: chmod 600 {path}",
        )


def _entries(path: Path) -> dict[str, str]:
    check_private(path, "Credentials file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Credentials file {path} cannot be read as text.", hint="Check the file.") from error
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator or name.strip() not in _KEYS:
            raise ConfigError(
                f"Line {number} of the credentials file {path} is not 'name = value' with one of {', '.join(_KEYS)}.",
                hint="Write e.g. 'user = ...' and 'password = ...' on two lines.",
            )
        entries[name.strip()] = value.strip()
    return entries
