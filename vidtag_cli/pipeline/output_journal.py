"""The journal of outputs that are being put in place: with it the next run undoes what a killed one did by half.

Before the first of several files gets its name, every folder concerned gets a journal that lists them all, and the
files they replace are kept under hidden names. The last file is the run's record. When it is in place, the run was
complete, and only the journals and the earlier files are left to remove; when it is not, the files are taken back and
the earlier ones put back. A journal is held by its process, so nobody settles what a living one is doing.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote_from_bytes, unquote_to_bytes

from vidtag_cli.files import (
    NO_HARD_LINKS,
    claimed,
    find_leftovers,
    hidden_file,
    kept_mode,
    move_to_free_name,
    remove_leftovers,
    replace_file,
    sync_folder,
)

FIRST_LINE, LAST_LINE = "vidtag-journal/1", "end"
JOURNAL_NAME = re.compile(r"\.vidtag-([0-9a-f]{16})\.journal")
EARLIER_NAME = re.compile(r"\.vidtag-([0-9a-f]{16})-\d{1,4}\.earlier")
FOLDER_LINE = re.compile(r"(folder|here) (/\S*)")
FILE_LINE = re.compile(r"file (\d{1,4}) ([0-9a-f]{64}) (\d{1,15}) (new|replaces) (\S+)")
MAX_JOURNAL_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Placement:
    """A file on its way to its name: its content's hash and size, and whether an earlier file bears that name."""

    folder: Path
    name: str
    sha256: str
    size_bytes: int
    replaces: bool

    def is_done(self) -> bool:
        """Return whether the very content is under the name."""
        try:
            descriptor = os.open(self.folder / self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != self.size_bytes:
                return False
            return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256


@dataclass(frozen=True, slots=True)
class Journal:
    """All files of a run in the order in which they get their names, as each of their folders has it on the disk."""

    placements: tuple[Placement, ...]
    set_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def folders(self) -> list[Path]:
        """Return the folders of the files, each once."""
        return list(dict.fromkeys(placement.folder for placement in self.placements))

    def path_in(self, folder: Path) -> Path:
        """Return where the journal stands in a folder."""
        return folder / f".vidtag-{self.set_id}.journal"

    def earlier(self, number: int) -> Path:
        """Return where the file that the placement of that number replaces is kept."""
        return self.placements[number].folder / f".vidtag-{self.set_id}-{number}.earlier"

    def text(self, here: Path) -> bytes:
        """Return the journal as it is written into one of its folders: a line for each folder and each file, names in
        percent encoding.
        """
        folders = self.folders()
        lines = [FIRST_LINE]
        for folder in folders:
            lines.append(f"{'here' if folder == here else 'folder'} {quote_from_bytes(os.fsencode(folder))}")
        for placement in self.placements:
            kind = "replaces" if placement.replaces else "new"
            name = quote_from_bytes(os.fsencode(placement.name), safe="")
            lines.append(
                f"file {folders.index(placement.folder)} {placement.sha256} {placement.size_bytes} {kind} {name}"
            )
        return "\n".join([*lines, LAST_LINE, ""]).encode("ascii")


@contextmanager
def undoable(placements: Sequence[Placement]) -> Iterator[None]:
    """Let the block move files to their names; what it did is undone when it fails, and by the next run that writes to
    one of the folders when this process is killed.

    Raises OSError, also when the undoing fails: then the journals stay for the next run.
    """
    journal = Journal(tuple(placements))
    with ExitStack() as held:
        try:
            for folder in journal.folders():
                temporary = held.enter_context(hidden_file(folder, journal.text(folder)))
                move_to_free_name(temporary, journal.path_in(folder))
            _sync(journal)
            for number, placement in enumerate(placements):
                if placement.replaces:
                    _keep(placement.folder / placement.name, journal.earlier(number))
            _sync(journal)
            yield
            _sync(journal)
        except BaseException:
            _undo(journal, journal.folders())
            _forget(journal, journal.folders())
            raise
        _forget(journal, journal.folders())


def settle_folder(folder: Path) -> list[str]:
    """Settle what killed runs left in a folder of outputs, and return a sentence about every set of files concerned.

    Files that a run had put in place only in part are taken back, earlier ones are put back, hidden ones removed.
    """
    sentences = []
    for path in _hidden_paths(folder, JOURNAL_NAME):
        with suppress(OSError):  # what cannot be settled now is for the next run; the outputs are checked in any case
            sentences += _settle(path)
    for path in _orphans(folder):
        with suppress(OSError):
            path.unlink()
    remove_leftovers(folder)
    return sentences


def find_unsettled(folder: Path) -> list[Path]:
    """Return what :func:`settle_folder` would settle in a folder."""
    journals = []
    for path in _hidden_paths(folder, JOURNAL_NAME):
        with claimed(path) as is_abandoned:
            journals += [path] if is_abandoned else []
    return [*journals, *_orphans(folder), *find_leftovers(folder)]


def read_journal(path: Path) -> Journal | None:
    """Return the journal in a file; None for one that cannot be understood, from which nothing may be concluded.

    The folder it stands in may have another path by now: moved, or mounted elsewhere.
    """
    set_id = JOURNAL_NAME.fullmatch(path.name)
    if set_id is None or path.stat().st_size > MAX_JOURNAL_BYTES:
        return None
    lines = path.read_bytes().decode("ascii", "replace").split("\n")
    if lines[0] != FIRST_LINE or lines[-2:] != [LAST_LINE, ""]:
        return None
    folder_lines = [match for line in lines[1:-2] if (match := FOLDER_LINE.fullmatch(line))]
    if [match[1] for match in folder_lines].count("here") != 1:
        return None
    here = path.parent.resolve()
    folders = [here if kind == "here" else Path(os.fsdecode(unquote_to_bytes(text)))
               for kind, text in (match.groups() for match in folder_lines)]  # fmt: skip
    placements = [_placement(line, folders) for line in lines[1 + len(folders) : -2]]
    known = [placement for placement in placements if placement is not None]
    return Journal(tuple(known), set_id[1]) if known and len(known) == len(placements) else None


def _placement(line: str, folders: Sequence[Path]) -> Placement | None:
    match = FILE_LINE.fullmatch(line)
    if match is None or int(match[1]) >= len(folders):
        return None
    name = os.fsdecode(unquote_to_bytes(match[5]))
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return None
    return Placement(folders[int(match[1])], name, match[2], int(match[3]), match[4] == "replaces")


def _settle(path: Path) -> list[str]:
    """Undo, or find complete, the set of files of a journal whose process is gone."""
    with ExitStack() as claims:
        if not claims.enter_context(claimed(path)):
            return []
        if path.stat().st_size == 0:
            path.unlink()  # its name was taken and it was not written yet: nothing was moved
            return []
        journal = read_journal(path)
        if journal is None:
            return [f"{path}: this journal of a killed run cannot be read: look at the files beside it, then remove it"]
        here = path.parent.resolve()
        # Only a folder that has the journal too is touched: a file found in one folder has no say about another.
        others = [folder for folder in journal.folders() if folder != here and journal.path_in(folder).exists()]
        if not all(claims.enter_context(claimed(journal.path_in(folder))) for folder in others):
            return []
        folders = [here, *others]
        is_complete = journal.placements[-1].is_done()
        if not is_complete:
            _remove_place_holders(journal, folders)
            _undo(journal, folders)
        _forget(journal, folders)
    names = ", ".join(placement.name for placement in journal.placements)
    if is_complete:
        return [f"{path.parent}: a run was killed after its last file was in place: the files are complete ({names})"]
    return [f"{path.parent}: a run was killed while it put its files in place: undone, locate again ({names})"]


def _undo(journal: Journal, folders: Sequence[Path]) -> None:
    """Take back the files that are in place and put back those they replaced, in some folders of a journal."""
    for number, placement in enumerate(journal.placements):
        if placement.folder not in folders:
            continue
        target, earlier = placement.folder / placement.name, journal.earlier(number)
        if not placement.is_done():
            continue
        if os.path.lexists(earlier):
            os.replace(earlier, target)
        elif not placement.replaces:
            target.unlink()
    _sync(journal, folders)


def _remove_place_holders(journal: Journal, folders: Sequence[Path]) -> None:
    """Remove the empty files that hold a new name for a moment, on file systems with neither hard links nor renaming to
    a free name.
    """
    for placement in journal.placements:
        if placement.folder in folders and not placement.replaces:
            with suppress(FileNotFoundError):
                target = placement.folder / placement.name
                status = os.lstat(target)
                if stat.S_ISREG(status.st_mode) and status.st_size == 0:
                    target.unlink()


def _forget(journal: Journal, folders: Sequence[Path]) -> None:
    """Remove the journals, with which the set counts as settled, and then the earlier files."""
    for folder in folders:
        journal.path_in(folder).unlink(missing_ok=True)
    _sync(journal, folders)
    for number, placement in enumerate(journal.placements):
        if placement.folder in folders:
            journal.earlier(number).unlink(missing_ok=True)


def _keep(target: Path, earlier: Path) -> None:
    """Give a file that is about to be replaced a second, hidden name, or a copy where there are no hard links."""
    try:
        os.link(target, earlier)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise

        def copy(stream: BinaryIO) -> None:
            with target.open("rb") as source:
                shutil.copyfileobj(source, stream)

        replace_file(earlier, copy, mode=kept_mode(target))


def _sync(journal: Journal, folders: Sequence[Path] | None = None) -> None:
    for folder in journal.folders() if folders is None else folders:
        sync_folder(folder)


def _hidden_paths(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if pattern.fullmatch(entry.name))
    except OSError:
        return []


def _orphans(folder: Path) -> list[Path]:
    """Return earlier files that are kept for nobody: their journal is gone, so their run was settled."""
    earlier_files = _hidden_paths(folder, EARLIER_NAME)
    set_ids = {match[1] for path in _hidden_paths(folder, JOURNAL_NAME) if (match := JOURNAL_NAME.fullmatch(path.name))}
    return [path for path in earlier_files if path.name.removeprefix(".vidtag-")[:16] not in set_ids]
