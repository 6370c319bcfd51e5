"""Where the files of a recipe are: named by the user, fetched before, in the hub's cache, or still to be fetched."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidtag_cli.bundle.folders import cache_dir
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import InputError
from vidtag_cli.recipes.download import download, find_in_index
from vidtag_cli.recipes.recipe import Member, Recipe, Source

HUB = "https://huggingface.co"
INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_MOST_FILES = 200_000
"""Looked at in a folder that was named: more are no folder of downloads."""

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes that are there and those there will be."""


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A source of a recipe: where its file lies, or None while it is still to be fetched from ``url``; ``found`` says
    in words where it is from. ``members`` are the files of an archive that lie there unpacked.
    """

    name: str
    source: Source
    url: str
    path: Path | None
    found: str
    members: Mapping[str, Path] | None = None
    authorization: str | None = field(default=None, repr=False)

    @property
    def is_here(self) -> bool:
        """Whether nothing of it must be fetched."""
        return self.path is not None or self.members is not None


def downloads_dir() -> Path:
    """Return the folder that fetched files are kept in, under their hashes; it may not exist yet."""
    return cache_dir() / "downloads"


def find_sources(recipe: Recipe, offered: Sequence[Path], index_url: str | None) -> list[FoundSource]:
    """Return where the sources of a recipe are. With files or folders ``offered`` nothing else is looked at.

    Files are known by size and SHA-256 and not by name. Raises InputError for an offered path that is not there, and
    where what is offered lacks a source.
    """
    for path in offered:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
    found = [_find(name, source, offered, index_url) for name, source in recipe.sources.items()]
    missing = [one for one in found if offered and not one.is_here]
    if missing:
        raise InputError("; ".join(_missing(one, offered) for one in missing))
    return found


def _missing(one: FoundSource, offered: Sequence[Path]) -> str:
    named = [path for path in offered if path.name == one.source.file_name]
    if named:
        return (
            f"{named[0]}: not the file that was published: {named[0].stat().st_size} bytes, SHA-256 "
            f"{sha256_of(named[0])}; {one.source.bytes} bytes and {one.source.sha256} are wanted"
        )
    return (
        f"{', '.join(map(str, offered))}: {one.source.file_name} is not among what was given ({one.source.bytes} "
        f"bytes, SHA-256 {one.source.sha256}): fetch {one.url} and give it too"
    )


def _find(name: str, source: Source, offered: Sequence[Path], index_url: str | None) -> FoundSource:
    url = address_of(source)
    if offered:
        path = _by_content(offered, source.bytes, source.sha256)
        if path is not None:
            return FoundSource(name, source, url, path, f"given: {path}")
        members = {key: _by_content(offered, one.bytes, one.sha256) for key, one in (source.members or {}).items()}
        if members and all(members.values()):
            return FoundSource(name, source, url, None, "given, unpacked", {k: p for k, p in members.items() if p})
        return FoundSource(name, source, url, None, "not there")
    kept = downloads_dir() / source.sha256
    for path, where in ((kept, "fetched before"), (_in_hub_cache(source), "in the hub's cache")):
        if path is not None and path.is_file() and path.stat().st_size == source.bytes:
            return FoundSource(name, source, url, path, f"{where}: {path}")
    if source.package is not None:
        index_url = index_url or next((os.environ[name] for name in INDEX_VARIABLES if os.environ.get(name)), None)
        if index_url is not None:
            url, authorization = find_in_index(index_url, source.package, source.file_name)
            return FoundSource(name, source, url, None, "to be fetched", authorization=authorization)
    return FoundSource(name, source, url, None, "to be fetched")


def address_of(source: Source) -> str:
    """Return the address of a source; HF_ENDPOINT takes the place of the model hub."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if source.hub is not None and endpoint and source.url.startswith(f"{HUB}/"):
        return endpoint + source.url.removeprefix(HUB)
    return source.url


def _in_hub_cache(source: Source) -> Path | None:
    if source.hub is None:
        return None
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("HF_HOME") or caches / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = f"models--{source.hub.repository.replace('/', '--')}"
    return cache / folder / "snapshots" / source.hub.revision / source.hub.file


def _by_content(offered: Sequence[Path], size: int, sha256: str) -> Path | None:
    for path in _files(offered):
        if path.stat().st_size == size and sha256_of(path) == sha256:
            return path
    return None


def _files(offered: Sequence[Path]) -> Iterator[Path]:
    """Yield the offered files and those in offered folders; a link to a file is one, as in the hub's cache."""
    seen = 0
    for path in offered:
        if path.is_file():
            yield path
            continue
        for folder, _, names in os.walk(path):
            for name in names:
                seen += 1
                if seen > _MOST_FILES:
                    raise InputError(f"{path}: more than {_MOST_FILES} files: name the folder the files are in")
                inner = Path(folder, name)
                if inner.is_file():
                    yield inner


def fetch(found: FoundSource, progress: Progress) -> FoundSource:
    """Return a source whose file is here and is the published one; raises InputError or OutputError."""
    if found.members is not None:
        return found
    source = found.source
    path = found.path
    if path is None:
        # An address of the user's own may be open: what comes is known by its hash.
        path = download(
            found.url, source.bytes, source.sha256, downloads_dir(),
            lambda done, whole: progress(source.file_name, done, whole), allows_open=found.url != source.url,
            authorization=found.authorization,
        )  # fmt: skip
    elif sha256_of(path) != source.sha256:
        raise InputError(f"{path}: not the file that was published: its SHA-256 is not {source.sha256}; remove it")
    return replace(found, path=path)


def unpack(found: Sequence[FoundSource], folder: Path) -> dict[str, Path]:
    """Return where all files are that tensors and tables name; members of archives are unpacked into ``folder``.

    Raises InputError for an archive without a member, or with another one than was published.
    """
    files: dict[str, Path] = {}
    for one in found:
        if one.members is not None:
            files |= one.members
        elif one.path is not None and one.source.members is None:
            files[one.name] = one.path
        elif one.path is not None:
            files |= {
                name: _unpack_member(one.path, member, folder / name)
                for name, member in (one.source.members or {}).items()
            }
    return files


def _unpack_member(archive_path: Path, member: Member, target: Path) -> Path:
    try:
        with zipfile.ZipFile(archive_path) as archive, archive.open(member.path) as inner:
            content = inner.read(member.bytes + 1)
    except (OSError, KeyError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise InputError(f"{archive_path}: {member.path} cannot be unpacked: {error}") from error
    target.write_bytes(content)
    if len(content) != member.bytes or sha256_of(target) != member.sha256:
        raise InputError(f"{archive_path}: {member.path} is not the file that was published")
    return target
