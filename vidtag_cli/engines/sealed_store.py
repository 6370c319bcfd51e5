"""Files that only this program may have written: engines and kernel caches are programs, and are run unread.

Each file has a manifest beside it with the SHA-256 of its content and a hash keyed with the user's secret. Whatever
lacks either, a file dropped into the folder, one cut short, one copied from another machine, is never handed out.
The secret is one per user: 32 bytes in a file of mode 0600.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidtag_cli.bundle.folders import user_config_file
from vidtag_cli.errors import ModelError
from vidtag_cli.files import create_file, exclusive_lock, replace_file

SCHEMA = "vidtag-sealed-file/1"
MANIFEST_SUFFIX = ".json"

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600

KEY_FILE = "engine-seal.key"
KEY_BYTES = 32

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SealedFile:
    """The content of a file of the store and the facts that were sealed with it."""

    content: bytes
    sha256: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file of the store is not handed out; ``reason`` is empty when there is none."""

    reason: str


class SealedStore:
    """A folder of sealed files. Content is checked in memory and returned from there: nothing can slip in between."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Use a folder, made with mode 0700; raises ModelError when it cannot be made or belongs to someone else."""
        self.folder = folder
        self._key = key
        try:
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise ModelError(
                    f"{folder}: belongs to another user: set XDG_CACHE_HOME or VIDTAG_HOME to a folder of yours"
                )
            folder.chmod(_FOLDER_MODE)
        except OSError as error:
            raise ModelError(
                f"{folder}: the cache of engines cannot be made ({error.strerror}): "
                "set XDG_CACHE_HOME or VIDTAG_HOME to a folder that can be written"
            ) from error

    def load(self, name: str) -> SealedFile | Refusal:
        """Return a file that was sealed here and is unchanged, or why there is none.

        The file's time of change becomes that of its last use, by which ``cache_limit`` goes.
        """
        path = self.folder / name
        if not path.exists() and not path.is_symlink():
            return Refusal("")
        try:
            manifest = json.loads(_read(path.with_name(name + MANIFEST_SUFFIX)))
        except FileNotFoundError:
            return Refusal("it has no manifest, so this program did not build it")
        except (OSError, ValueError):
            return Refusal("its manifest cannot be read")
        if not isinstance(manifest, dict) or not isinstance(manifest.get("facts"), dict):
            return Refusal("its manifest is not one of this program's")
        if not hmac.compare_digest(self._seal(manifest), str(manifest.get("seal"))):
            return Refusal("its manifest was not sealed with this user's key")
        if manifest.get("schema") != SCHEMA or manifest.get("name") != name:
            return Refusal("its manifest belongs to another file")
        try:
            content = _read(path)
        except OSError as error:
            return Refusal(f"it cannot be read ({error.strerror})")
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != manifest.get("sha256"):
            return Refusal("it was cut short or changed since it was built")
        with suppress(OSError):  # a cache that cannot be written is good to load from all the same
            os.utime(path, follow_symlinks=False)
        return SealedFile(content, sha256, manifest["facts"])

    def save(self, name: str, content: bytes | memoryview, facts: Mapping[str, Any]) -> str:
        """Return the SHA-256 of a content that is now in the store under a name, in place of an earlier one.

        Content and manifest are each replaced in one step. Of two processes that save at once the last wins; should
        the files of both mix, they do not match and are refused. Raises ModelError when the disk does not take them.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        manifest: dict[str, Any] = {"schema": SCHEMA, "name": name, "sha256": sha256, "facts": dict(facts)}
        manifest["seal"] = self._seal(manifest)
        try:
            replace_file(self.folder / name, content, mode=_FILE_MODE)
            replace_file(
                self.folder / (name + MANIFEST_SUFFIX), json.dumps(manifest, indent=2).encode(), mode=_FILE_MODE
            )
        except OSError as error:
            raise ModelError(
                f"{self.folder}: {name} cannot be written ({error.strerror}): make room, "
                "or set XDG_CACHE_HOME or VIDTAG_HOME to another folder"
            ) from error
        return sha256

    def lock(self, name: str, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Let one process at a time into the block; ``on_wait`` is called once when another holds the lock."""
        return exclusive_lock(self.folder / f".{name}.lock", on_wait)

    def _seal(self, manifest: Mapping[str, Any]) -> str:
        sealed = {key: value for key, value in manifest.items() if key != "seal"}
        text = json.dumps(sealed, sort_keys=True, separators=(",", ":"))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


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
            with suppress(FileExistsError):  # the key of another process that was first wins
                create_file(path, secrets.token_bytes(KEY_BYTES), mode=_FILE_MODE)
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: the key for engine files cannot be made or read ({error.strerror}): "
            "set XDG_CONFIG_HOME or VIDTAG_HOME to a folder that can be written"
        ) from error


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _problem(path: Path) -> str:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != KEY_BYTES:
        return "not a key of this program"
    if facts.st_uid != os.getuid():
        return "belongs to another user"
    return "can be read or written by others" if facts.st_mode & 0o077 else ""
