"""What trials are made from, prepared once: clips, a small model, its embedded gallery; and a folder for each trial."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from trial import ROOT, base_environment, program

from vidtag_cli.video.ffmpeg import find_ffmpeg

DATA = ROOT / "vidtag_cli" / "data"
CLIP_SECONDS = (6, 8)
NEAR_DEG, FAR_STEP = 6.0, 150


@dataclass(frozen=True, slots=True)
class Workbench:
    """Paths of what was prepared. ``estimates`` maps the hash of a clip to what the program finds in it;
    ``run_s`` is how long a plain run takes here and now; ``options`` are those of ``vidtag locate``.
    """

    folder: Path
    clip: Path
    other_clip: Path
    model: Path
    gallery: Path
    truth: Path
    estimates: dict[str, list[Any]]
    run_s: float
    options: frozenset[str]

    def lay_out(self, folder: Path) -> None:
        """Fill the folder of one trial: ``work`` with the clips, ``home`` with the cached gallery, ``tmp``."""
        for name in ("work/out", "tmp"):
            (folder / name).mkdir(parents=True)
        shutil.copyfile(self.clip, folder / "work" / "clip.mp4")
        shutil.copyfile(self.other_clip, folder / "work" / "other.mp4")
        shutil.copytree(self.folder / "home", folder / "home", copy_function=os.link)


def prepare_workbench(folder: Path) -> Workbench:
    """Return a workbench made in ``folder``, in about ten seconds of one core."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("home", "tmp", "work"):
        (folder / name).mkdir()
    clips = [_cut_clip(folder / f"{name}.mp4", seconds) for name, seconds in zip("ab", CLIP_SECONDS, strict=True)]
    model = _thinned_model(folder / "small.vidtag")
    gallery = folder / "gallery"
    _vidtag(
        folder, "gallery", "build", str(gallery), "--model", str(model), "--box", "38,8,48,22", "--spacing-km", "60"
    )
    estimates, walls_s = {}, []
    for clip in (*clips, clips[0]):
        started_s = time.monotonic()
        found = json.loads(_vidtag(folder, "locate", str(clip), "--model", str(model), "--json"))
        walls_s.append(time.monotonic() - started_s)
        estimates[hashlib.sha256(clip.read_bytes()).hexdigest()] = found["inputs"][0]["estimates"]
    return Workbench(
        folder, clips[0], clips[1], model, gallery, DATA / "demo" / "flyover_demo.truth.csv", estimates,
        walls_s[-1], frozenset(_vidtag(folder, "locate", "--help").split()),
    )  # fmt: skip


def refreshed_hashes(bundle: Path) -> None:
    """Make the hashes in a model's ``bundle.json`` those of the files beside it, as whoever changed them would."""
    note = bundle / "bundle.json"
    fields = json.loads(note.read_text())
    for name in fields["files"]:
        if (bundle / name).is_file():
            fields["files"][name] = _sha256(bundle / name)
    for graph in fields["graphs"].values():
        if (bundle / graph["file"]).is_file():
            graph["sha256"] = _sha256(bundle / graph["file"])
    note.unlink()
    note.write_text(json.dumps(fields))


def refreshed_gallery(gallery: Path) -> None:
    """Make sizes and hashes in ``gallery.json`` those of the files beside it."""
    note = gallery / "gallery.json"
    fields = json.loads(note.read_text())
    for name, record in fields["files"].items():
        if (gallery / name).is_file():
            record.update(bytes=(gallery / name).stat().st_size, sha256=_sha256(gallery / name))
    note.unlink()
    note.write_text(json.dumps(fields))


def empty_cache(folder: Path) -> None:
    """Take the cached gallery from a trial, which has to be made again then."""
    shutil.rmtree(folder / "home")
    (folder / "home").mkdir()


def linked_copy(source: Path, target: Path) -> Path:
    """Return a copy of a folder whose files are hard links: to change one, remove it first."""
    return Path(shutil.copytree(source, target, copy_function=os.link))


def _cut_clip(target: Path, seconds: int) -> Path:
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-i", str(DATA / "demo" / "flyover_demo.mp4")]
    subprocess.run([*command, "-t", str(seconds), "-c", "copy", str(target)], check=True)
    return target


def _thinned_model(target: Path) -> Path:
    """Return the bundled model with its places near the clip and few elsewhere: they are embedded in a second."""
    shutil.copytree(DATA / "flyover.vidtag", target)
    latlon_deg = np.load(target / "gallery_latlon.npy")
    is_near = np.all(np.abs(latlon_deg - np.array([42.9, 19.9])) < NEAR_DEG, axis=1)
    is_kept = is_near | (np.arange(len(latlon_deg)) % FAR_STEP == 0)
    np.save(target / "gallery_latlon.npy", latlon_deg[is_kept])
    refreshed_hashes(target)
    return target


def _vidtag(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        program(arguments), env=base_environment(folder), cwd=folder / "work", stdout=subprocess.PIPE, text=True,
        check=True,
    ).stdout  # fmt: skip


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def locate(workbench: Workbench, *arguments: str, model: Path | None = None) -> Sequence[str]:
    """Return the arguments of ``vidtag locate`` with the small model."""
    return ("locate", "--model", str(model or workbench.model), *arguments)
