"""Whether the files of a bundle are those that ``bundle.json`` lists: in the folder, complete, unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from vidtag_cli.bundle.bundle_json import read_bundle_json
from vidtag_cli.bundle.contract import BUNDLE_JSON, BundleContract, GraphContract, GraphVariant
from vidtag_cli.bundle.external_data import external_data_locations
from vidtag_cli.errors import ModelError

FileStatus = Literal["ok", "not hashed", "changed", "missing", "outside", "unreadable", "unlisted"]

LOADABLE_SUFFIXES = frozenset({".onnx", ".npy", ".npz"})
"""Kinds of file this program would load: one that ``bundle.json`` does not list is refused. Others are left alone."""


MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 1024
"""What the common file systems take for one name, and enough for a path below the bundle."""

MOST_SHOWN = 60
"""Characters of a strange file name that a message quotes."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What was found for one file; ``path`` is relative to the bundle, hashes are SHA-256."""

    path: str
    status: FileStatus
    expected_sha256: str | None
    found_sha256: str | None
    detail: str = ""

    @property
    def is_ok(self) -> bool:
        return self.status in ("ok", "not hashed")

    def spelled(self) -> str:
        """Return path, status and detail in one line."""
        path = self.path if len(self.path) <= MOST_SHOWN else f"{self.path[:MOST_SHOWN]}..."
        return f"{path}: {self.status}{': ' * bool(self.detail)}{self.detail}"


@dataclass(frozen=True, slots=True)
class BundleReport:
    """The checks of one bundle, one per file; ``sha256`` is that of ``bundle.json``, which pins all the others."""

    path: Path
    name: str
    sha256: str
    files: tuple[FileCheck, ...]

    @property
    def is_ok(self) -> bool:
        return all(check.is_ok for check in self.files)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; the file is streamed, not read into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_bundle(path: str | Path) -> BundleReport:
    """Return one check per file of a bundle, all hashes recomputed.

    Raises ModelError only when ``bundle.json`` itself cannot be read; everything else is in the report.
    """
    bundle_dir = Path(path)
    contract = read_bundle_json(bundle_dir)
    files = check_files(bundle_dir, contract, hashes=True)
    return BundleReport(bundle_dir, contract.name, sha256_of(bundle_dir / BUNDLE_JSON), files)


def listed_files(contract: BundleContract) -> dict[str, str]:
    """Return every file a bundle consists of beside ``bundle.json``: relative path to SHA-256."""
    return {file.file: file.sha256 for file in graph_files(contract)} | contract.files


def graph_files(contract: BundleContract) -> Iterator[GraphContract | GraphVariant]:
    """Yield every ONNX file that a contract names: of each graph the first one, then its variants."""
    for graph in contract.graphs.values():
        yield graph
        yield from graph.variants


def check_files(bundle_dir: Path, contract: BundleContract, hashes: bool) -> tuple[FileCheck, ...]:
    """Return one check per listed file, then one per file that should not be there or is used without being listed."""
    listed = listed_files(contract)
    checks = [_check_file(bundle_dir, path, sha256, hashes) for path, sha256 in listed.items()]
    readable = {check.path for check in checks if check.is_ok}
    for graph in graph_files(contract):
        if graph.file in readable:
            checks.extend(_check_external_data(bundle_dir, graph.file, listed))
    checks.extend(_unlisted_files(bundle_dir, listed))
    return tuple(checks)


def inside_path(bundle_dir: Path, relative: str) -> Path:
    """Return the absolute path of a file of the bundle, whether or not it is there.

    Raises ModelError for a name too long for a file or that is no Unicode text, an absolute path, a ``..``, a backslash
    or a symbolic link that leads out of the folder.
    """
    parts = relative.split("/")
    if not all(0 < len(_utf8(part)) <= MAX_NAME_BYTES for part in parts) or len(_utf8(relative)) > MAX_PATH_BYTES:
        raise ModelError(f"{_shown(relative)} is no name that a file can have everywhere")
    spelled_badly = "\\" in relative or "\0" in relative or any(part in ("", ".", "..") for part in parts)
    if spelled_badly or PurePosixPath(relative).is_absolute():
        raise ModelError(f"{_shown(relative)} is not a plain path inside the bundle")
    root = bundle_dir.resolve()
    try:
        path = (root / relative).resolve()
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{_shown(relative)} cannot be followed: {error}") from error
    if not path.is_relative_to(root):
        raise ModelError(f"{_shown(relative)} is a symbolic link out of the bundle, to {path}")
    return path


def _utf8(text: str) -> bytes:
    """Return a text's bytes; none for one with lone surrogates, which no file name of a bundle needs."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""


def _shown(name: str) -> str:
    return repr(name) if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]!r}..."


def _check_file(bundle_dir: Path, relative: str, expected: str, hashes: bool) -> FileCheck:
    try:
        path = inside_path(bundle_dir, relative)
    except ModelError as error:
        return FileCheck(relative, "outside", expected, None, str(error))
    if not path.exists():
        return FileCheck(relative, "missing", expected, None)
    if not path.is_file():
        # Opening a pipe would wait for a writer for ever.
        return FileCheck(relative, "unreadable", expected, None, "not a regular file")
    if not hashes:
        return FileCheck(relative, "not hashed", expected, None)
    try:
        actual = sha256_of(path)
    except OSError as error:
        return FileCheck(relative, "unreadable", expected, None, error.strerror or str(error))
    return FileCheck(relative, "ok" if actual == expected else "changed", expected, actual)


def _check_external_data(bundle_dir: Path, graph_file: str, listed: dict[str, str]) -> list[FileCheck]:
    try:
        locations = external_data_locations(inside_path(bundle_dir, graph_file))
    except ModelError as error:
        return [FileCheck(graph_file, "unreadable", listed[graph_file], None, str(error))]
    folder = graph_file.rpartition("/")[0]
    paths = [f"{folder}/{location}" if folder else location for location in locations]
    detail = f"{graph_file} reads its weights from it, but {BUNDLE_JSON} does not list it"
    # A listed path was checked above; one that leaves the folder cannot be among them.
    return [FileCheck(path, "unlisted", None, None, detail) for path in paths if path not in listed]


def _unlisted_files(bundle_dir: Path, listed: dict[str, str]) -> list[FileCheck]:
    loadable = sorted(path for path in bundle_dir.rglob("*") if path.suffix.lower() in LOADABLE_SUFFIXES)
    names = [path.relative_to(bundle_dir).as_posix() for path in loadable]
    detail = f"{BUNDLE_JSON} does not list it; remove it"
    return [FileCheck(name, "unlisted", None, None, detail) for name in names if name not in listed]
