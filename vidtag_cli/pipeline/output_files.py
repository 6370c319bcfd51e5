"""The files of one run in their places: all of them or none, whatever stops the run."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from vidtag_cli.errors import OutputError
from vidtag_cli.files import hidden_file, kept_mode, move_to_free_name, sync_folder
from vidtag_cli.pipeline.output_journal import Placement, settle_folder, undoable
from vidtag_cli.writers.atomic import explained, is_stream, write_stream
from vidtag_cli.writers.names import printable

_logger = logging.getLogger(__name__)

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class StagedFile:
    """An output that is complete and on the disk under a hidden name beside its own."""

    path: Path
    target: Path
    temporary: Path
    sha256: str
    size_bytes: int

    def placement(self) -> Placement:
        """Return what the journal says of it."""
        replaces = os.path.lexists(self.target)
        return Placement(self.target.parent, self.target.name, self.sha256, self.size_bytes, replaces)


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """The outputs of a run in the order in which they get their names; the record comes last."""

    force: bool
    hidden: ExitStack
    staged: list[StagedFile] = field(default_factory=list)
    streams: list[tuple[Path, bytes]] = field(default_factory=list)

    def add(self, path: Path, content: bytes) -> None:
        """Write an output beside its place; one that is a stream is kept until all files are written.

        Raises OutputError.
        """
        if is_stream(path):
            self.streams.append((path, content))
            return
        target = Path(os.path.realpath(path))
        with explained(path):
            mode = kept_mode(target) if self.force else None
            temporary = self.hidden.enter_context(hidden_file(target.parent, content, mode))
        digest = hashlib.sha256(content).hexdigest()
        self.staged.append(StagedFile(path, target, temporary, digest, len(content)))


@contextmanager
def all_or_none(force: bool = False) -> Iterator[OutputFiles]:
    """Yield the collection of a run's outputs; when the block ends well they are put in place, and else none is.

    Nothing is seen under its name before everything is on the disk. Without ``force`` a name that is in use is an
    error, with it the earlier files stay until all new ones can follow each other without pause. What a signal, an
    error, a kill or a power cut interrupts is undone, by the next run in the folder at the latest. Raises OutputError.
    """
    with ExitStack() as hidden:
        files = OutputFiles(force, hidden)
        yield files
        for path, content in files.streams:
            write_stream(path, content)
        with signals_wait() as signals:
            _put_in_place(files, signals)


def settle_earlier_runs(paths: Iterable[Path]) -> None:
    """Undo what killed runs left by half in the folders of outputs, before anyone asks whether the names are free."""
    files = [path for path in paths if not is_stream(path)]
    for folder in dict.fromkeys(Path(os.path.realpath(path)).parent for path in files):
        for sentence in settle_folder(folder):
            _logger.warning("%s", printable(sentence))


def _put_in_place(files: OutputFiles, signals: Sequence[int]) -> None:
    if not files.staged:
        return
    *others, record = files.staged
    if not others:  # one step needs no journal
        _give_name(record, files.force)
        with explained(record.path):
            sync_folder(record.target.parent)
        return
    with explained(record.path), undoable([file.placement() for file in files.staged]):
        for file in others:
            _give_name(file, files.force)
        for folder in {file.target.parent for file in others}:
            sync_folder(folder)
        if signals:
            raise OutputError(f"{record.path}: {signal.Signals(signals[0]).name} came: no file was put in place")
        _give_name(record, files.force)


def _give_name(file: StagedFile, force: bool) -> None:
    with explained(file.path):
        if force:
            os.replace(file.temporary, file.target)
        else:
            move_to_free_name(file.temporary, file.target)


@contextmanager
def signals_wait() -> Iterator[Sequence[int]]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block has ended; the first that came is delivered then.

    Yields those that came so far.

    They are caught and not blocked: a signal that the main thread blocks reaches it through any other thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield ()  # Python handles signals in the main thread alone
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    previous = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    try:
        for number, handler in previous.items():
            if handler not in (signal.SIG_IGN, None):  # None: not installed from Python, and not to be put back
                signal.signal(number, note)
        yield came
    finally:
        for number, handler in previous.items():
            if handler not in (signal.SIG_IGN, None):
                signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
