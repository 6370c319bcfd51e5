"""The predictions files of one evaluation, each under the name and with the caution its outputs carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.predictions import Predictions, load_predictions
from vidtag_cli.errors import UsageError

UNCHECKED = "nobody compared the gallery with the queries"


@dataclass(frozen=True, slots=True)
class Entry:
    """One predictions file under the name its rows and figures carry."""

    name: str
    predictions: Predictions
    caution: str


def read_entries(files: Sequence[Path], allow_leak: bool) -> list[Entry]:
    """Return the files by model, and by gallery where one model comes twice.

    Raises UsageError for a gallery that holds query coordinates unless ``allow_leak``; InputError for a file that holds
    no predictions.
    """
    if not files:
        raise UsageError("no predictions files given: name at least one .npz that training wrote")
    loaded = [(path, load_predictions(path)) for path in files]
    entries: list[Entry] = []
    for path, predictions in loaded:
        info = predictions.info
        if info.leak is not None and info.leak.leaks and not allow_leak:
            raise UsageError(f"{path}: {info.leak.in_words()}. Give --allow-leak to evaluate it marked as such")
        caution = UNCHECKED if info.leak is None else info.leak.in_words() if info.leak.leaks else ""
        names = [other.info.model for _, other in loaded]
        name = info.model if names.count(info.model) == 1 else f"{info.model}; {info.gallery}"
        if any(entry.name == name for entry in entries):
            name = f"{name} ({path.stem})"
        entries.append(Entry(name, predictions, caution))
    return entries
