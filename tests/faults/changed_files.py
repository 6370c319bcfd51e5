"""Models and galleries changed by hand, with their hashes made right: strangers' files that say what cannot be."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from trial import Trial
from workbench import Workbench, linked_copy, locate, refreshed_gallery, refreshed_hashes

VALUES: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**63, 10**30, 100_000, 1e300, 5e-324, -1e300, 0.0, float("nan"), float("inf"), True, None, "",
    "x", "a" * 300, "\ud800", "../../etc/passwd", "/etc/passwd", "\x1b[31m", [], {}, [[]], "1", 1.5, [1] * 1000,
)  # fmt: skip
POISON = (np.nan, np.inf, -np.inf, 0.0, 3.0, 1e-30)
"""Embeddings are unit vectors; none of these belongs into one."""


def draw_model(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return the use of a changed model."""
    bundle = linked_copy(workbench.model, folder / "work" / "changed.vidtag")
    changes = (_change_field, _change_field, _change_field, _damage_file, _odd_array, _remove_file)
    fault = rng.choice(changes)(bundle, "bundle.json", rng, refreshed_hashes)
    command = rng.choice(("locate", "locate", "locate", "info", "verify", "install"))
    if command == "locate":
        arguments = [*locate(workbench, "clip.mp4", "--out", "out/track.gpx", model=bundle)]
    else:
        arguments = ["models", command, str(bundle), "--json"]
    return Trial("models", f"{command}: {fault}", arguments, folder / "work" / "clip.mp4", frozenset({0, 2, 6, 8}),
                 writes=command == "locate")  # fmt: skip


def draw_gallery(workbench: Workbench, folder: Path, rng: random.Random) -> Trial:
    """Return the use of a changed gallery; embeddings that are no unit vectors must be refused."""
    gallery = linked_copy(workbench.gallery, folder / "work" / "changed")
    is_poisoned = rng.random() < 0.5
    codes = frozenset({6}) if is_poisoned else frozenset({0, 6, 8})
    changes = (_change_field, _change_field, _damage_file, _odd_array, _remove_file)
    fault = (
        _poison(gallery, rng) if is_poisoned else rng.choice(changes)(gallery, "gallery.json", rng, refreshed_gallery)
    )
    if is_poisoned or rng.random() < 0.8:
        arguments = [*locate(workbench, "clip.mp4", "--gallery", "changed", "--out", "out/track.gpx", "--json")]
    else:
        arguments, codes = ["gallery", "info", "changed", "--verify", "--json"], codes | {0}
    return Trial("galleries", fault, arguments, folder / "work" / "clip.mp4", codes,
                 writes=arguments[0] == "locate")  # fmt: skip


Refresh = Callable[[Path], None]


def _change_field(folder: Path, note_name: str, rng: random.Random, refresh: Refresh) -> str:
    note = folder / note_name
    fields = json.loads(note.read_text())
    holder, key = rng.choice(list(_leaves(fields)))
    value = rng.choice(VALUES)
    if rng.random() < 0.1 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = value
    note.unlink()
    note.write_text(json.dumps(fields))
    return f"{note_name}: {key} is {value!r:.40}"


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _leaves(inner)


def _data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".npy", ".npz", ".onnx"))


def _replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def _damage_file(folder: Path, note_name: str, rng: random.Random, refresh: Refresh) -> str:
    path = rng.choice(_data_files(folder))
    data = bytearray(path.read_bytes())
    kind = rng.choice(("cut", "flips", "garbage", "empty"))
    if kind == "cut":
        data = data[: rng.randrange(1, len(data))]
    elif kind == "flips":
        for _ in range(rng.choice((1, 20, 500))):
            data[rng.randrange(min(len(data), rng.choice((128, len(data)))))] ^= 1 << rng.randrange(8)
    else:
        data = bytearray(rng.randbytes(1000 if kind == "garbage" else 0))
    _replace(path, bytes(data))
    refresh(folder)
    return f"{path.name}: {kind}"


def _remove_file(folder: Path, note_name: str, rng: random.Random, refresh: Refresh) -> str:
    path = rng.choice([*_data_files(folder), folder / note_name])
    path.unlink()
    kind = rng.choice(("is missing", "is a FIFO", "is a folder", "is a link to /etc/passwd"))
    if kind == "is a FIFO":
        os.mkfifo(path)
    elif kind == "is a folder":
        path.mkdir()
    elif kind != "is missing":
        path.symlink_to("/etc/passwd")
    return f"{path.name} {kind}"


def _odd_array(folder: Path, note_name: str, rng: random.Random, refresh: Refresh) -> str:
    path = rng.choice([path for path in _data_files(folder) if path.suffix != ".onnx"])
    kind, data = rng.choice(list(_odd_arrays(path)))
    _replace(path, data)
    refresh(folder)
    return f"{path.name}: {kind}"


def _odd_arrays(path: Path) -> Iterator[tuple[str, bytes]]:
    def npy(array: Any) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        return buffer.getvalue()

    yield "objects", npy(np.array([{}, None], dtype=object))
    yield "strings", npy(np.array(["a", "b"]))
    yield "no rows", npy(np.zeros((0, 2)))
    yield "one number", npy(np.float64(1))
    yield "complex", npy(np.zeros((10, 2), complex))
    yield "big-endian", npy(np.zeros((10, 2), ">f8"))
    yield "out of range", npy(np.full((10, 2), 1e6))
    yield "not a number", npy(np.full((10, 2), np.nan))
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000, 2), }"
    yield "a header of 146 TB", b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117).encode() + b"\n"
    deep = ("{'descr': '<f8', 'shape': " + "(" * 200 + ")" * 200 + "}").encode()
    yield "a deep header", b"\x93NUMPY\x01\x00" + len(deep).to_bytes(2, "little") + deep
    archive = io.BytesIO()
    np.savez(archive, a=np.zeros(3))
    yield "an archive", archive.getvalue()
    yield "an archive cut short", archive.getvalue()[:-30]


def _poison(gallery: Path, rng: random.Random) -> str:
    path = gallery / "embeddings.npy"
    embeddings = np.array(np.load(path))
    row, value = rng.randrange(len(embeddings)), rng.choice(POISON)
    if np.isfinite(value):
        embeddings[row] = embeddings[row] * value
    else:
        embeddings[row, rng.randrange(embeddings.shape[1])] = value
    buffer = io.BytesIO()
    np.save(buffer, embeddings)
    _replace(path, buffer.getvalue())
    refreshed_gallery(gallery)
    return f"row {row} of the embeddings times or with {value}"
