"""The curves of a run: a CSV file always, TensorBoard where asked for."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from vidtag_cli.errors import UsageError
from vidtag_cli.files import replace_file

LOG_FILE = "log.csv"


class ProgressLog:
    """Writes means of named scalars by step; lines after step ``done``, of a run that was killed, are taken back."""

    def __init__(self, folder: Path, name: str, done: int, tensorboard: bool = False) -> None:
        self._path, self._name = folder / LOG_FILE, name
        self._board = _open_board(folder / "tensorboard", done) if tensorboard else None
        if self._path.is_file():
            _take_back(self._path, name, done)

    def write(self, step: int, elapsed_s: float, means: dict[str, float]) -> None:
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["phase", "step", "elapsed_s", *means])
            writer.writerow([self._name, step, f"{elapsed_s:.1f}", *(f"{value:.6g}" for value in means.values())])
        if self._board is not None:
            for key, value in means.items():
                self._board.add_scalar(f"{self._name}/{key}", value, step)
            self._board.flush()

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def require_tensorboard() -> None:
    """Raise UsageError where TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise UsageError("--tensorboard needs the package tensorboard: pip install tensorboard, or leave it out; "
                         f"{LOG_FILE} holds the same numbers") from error  # fmt: skip


def _open_board(folder: Path, done: int) -> Any:
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done + 1)


def _take_back(path: Path, name: str, done: int) -> None:
    """Remove lines of this phase after step ``done`` and one that a kill left torn."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and not _is_later(line, name, done)]
    if kept != lines:
        replace_file(path, "".join(kept).encode())


def _is_later(line: str, name: str, done: int) -> bool:
    phase, step, *_ = next(csv.reader(io.StringIO(line)))
    return phase == name and step.isdecimal() and int(step) > done
