"""The data sets that can be read, and which of them a folder holds."""

from __future__ import annotations

from pathlib import Path

from training.data.cityguessr import LABELS, META_FOLDERS, CityVideos
from training.data.gama import INFO_FOLDERS, PARTS, DriveVideos
from training.data.msls import MapillarySequences
from training.data.sample import MIN_FRAMES, DataSet
from training.data.video_folder import VideoFolder, find_videos
from training.data.video_samples import VideoSampling
from vidtag_cli.errors import InputError, UsageError

KINDS = ("msls", "gama", "cityguessr", "videos")


def open_data_set(
    root: Path, kind: str | None = None, *, frames_per_s: float | None = None, min_frames: int | None = None
) -> DataSet:
    """Return the data set of a folder; its kind is told by its layout if not given.

    ``frames_per_s`` of videos defaults to 1, as in the paper; data sets of photographs have no use for it. Raises
    InputError when the folder cannot be listed or holds no data set, UsageError for another kind.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"data set kind {kind!r}: choose one of {', '.join(KINDS)}")
    try:
        next(root.iterdir(), None)
        kind = kind or find_kind(root)
    except OSError as error:
        raise InputError(f"{root}: cannot be listed: {error.strerror or error}") from error
    min_frames = MIN_FRAMES if min_frames is None else min_frames
    sampling = VideoSampling(1.0 if frames_per_s is None else frames_per_s, min_frames)
    if kind == "msls":
        return MapillarySequences(root, min_frames)
    if kind == "gama":
        return DriveVideos(root, sampling)
    if kind == "cityguessr":
        return CityVideos(root, sampling=sampling)
    return VideoFolder(root, sampling)


def find_kind(root: Path) -> str:
    """Return the kind whose layout a folder has. Raises InputError when it has none."""
    if (root / "train_val").is_dir():
        return "msls"
    if any((root / folder.format(part=part)).is_dir() for folder in INFO_FOLDERS for part in PARTS):
        return "gama"
    if any((root / folder / LABELS).is_file() for folder in META_FOLDERS):
        return "cityguessr"
    if find_videos(root):
        return "videos"
    raise InputError(
        f"{root}: not a data set: no train_val (MSLS), no info/100k (BDD100K, GAMa), no {LABELS} (CityGuessr68k) and "
        "no video; give the folder that holds one of them"
    )
