"""The secret with which this program seals the files that it will later trust: one per user, 32 bytes, mode 0600."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path

from vidtag_cli.bundle.folders import user_config_file
from vidtag_cli.errors import ModelError

KEY_FILE = "engine-seal.key"
KEY_BYTES = 32

_logger = logging.getLogger(__name__)


def seal_key_path() -> Path:
    """Return where the key lies: beside the configuration, so that a copied cache does not bring its key along."""
    return user_config_file().with_name(KEY_FILE)


def seal_key(path: Path) -> bytes:
    """Return the key in a file, made at first use.

    A key that others could read or write is no secret: it is replaced, and what it sealed is made anew. Raises
    ModelError when the file cannot be read or made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = _problem(path)
        if problem:
            _logger.warning("%s: %s: a new key is made, and engines are built again", path, problem)
            path.unlink()
        if not path.exists():
            _create(path)
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: the key for engine files cannot be made or read ({error.strerror}): "
            "set XDG_CONFIG_HOME or VIDTAG_HOME to a folder that can be written"
        ) from error


def _problem(path: Path) -> str:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(found.st_mode) or found.st_size != KEY_BYTES:
        return "not a key of this program"
    if found.st_uid != os.getuid():
        return "belongs to another user"
    return "can be read or written by others" if found.st_mode & 0o077 else ""


def _create(path: Path) -> None:
    """Make the key whole or not at all; the key of another process that is first wins."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
