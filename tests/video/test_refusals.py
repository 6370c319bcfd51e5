"""What is no video is refused with its cause and the remedy, whatever ffmpeg is found."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from vidtag_cli.errors import InputError, VideoError
from vidtag_cli.video.boxes import read_boxes
from vidtag_cli.video.probe import probe_video

SOURCE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=1")
MADE = {
    "raw.h264": (("-c:v", "libx264"), r"raw stream \(H.264\).*ffmpeg -framerate N -i raw.h264 -c copy video.mp4"),
    "raw.hevc": (("-c:v", "libx265"), r"raw stream \(H.265\).*ffmpeg -framerate N"),
    "raw.m2v": (("-c:v", "mpeg2video"), r"raw stream \(MPEG video\)"),
    "raw.m4v": (("-c:v", "mpeg4", "-f", "m4v"), r"raw stream \(MPEG-4 video\)"),
    "a.gif": ((), "a GIF picture.*ffmpeg -i a.gif video.mp4"),
    "a.bmp": (("-frames:v", 1), r"a still picture \(BMP\) of a form that is not read: convert it"),
    "a.y4m": ((), "raw pictures"),
    "still.avif": (("-frames:v", 1, "-c:v", "libaom-av1", "-cpu-used", 8), "brand avif: HEIC, AVIF"),
    "moving.avif": (("-c:v", "libaom-av1", "-cpu-used", 8), "brand avis: HEIC, AVIF.*ffmpeg -i moving.avif"),
    "encrypted.mp4": (
        ("-c:v", "libx264", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb",
         "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8"),
        "its pictures are encrypted",
    ),
}  # fmt: skip
WRITTEN = {
    "list.m3u8": (b"#EXTM3U\n#EXTINF:5,\nx.ts\n", "playlist"),
    "list.mpd": (b'<?xml version="1.0"?>\n<MPD xmlns="urn:x"></MPD>', "playlist"),
    "page.mp4": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page: a download failed"),
    "clip.zip": (b"PK\x03\x04" + bytes(100), r"an archive \(ZIP\): unpack it"),
    "cut.jpg": (b"\xff\xd8\xff\xe0" + bytes(8), "a photograph.* that cannot be decoded"),
    "zeros.mp4": (bytes(100_000), "nothing but zeros"),
    "notes.mp4": ("Überfahrt\n".encode(), "it is a text"),
    "sound.mp3": (b"ID3" + bytes(100), "sound without pictures"),
    "photo.heic": (struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(50), "brand heic: HEIC, AVIF"),
    "sequence.heif": (struct.pack(">I", 24) + b"ftyphevc\0\0\0\0mif1hevc" + bytes(50), "brand hevc: HEIC, AVIF"),
}


@pytest.mark.parametrize("name", MADE)
def test_the_cause_and_the_remedy_are_named(clips: Path, run_ffmpeg: Callable[..., bytes], name: str) -> None:
    path, (options, message) = clips / name, MADE[name]
    run_ffmpeg(*SOURCE, *options, path)
    with pytest.raises(VideoError, match=message):
        probe_video(path)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_only_bears_the_name_of_a_video_is_named(tmp_path: Path, name: str) -> None:
    content, message = WRITTEN[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=message):
        probe_video(path)


def test_a_recording_without_its_index_was_not_finished(
    clips: Path, tmp_path: Path, run_ffmpeg: Callable[..., bytes]
) -> None:
    whole, cut = clips / "whole_index.mp4", tmp_path / "cut.mp4"
    run_ffmpeg(*SOURCE, "-c:v", "mpeg4", whole)
    content = whole.read_bytes()
    cut.write_bytes(content[: content.index(b"moov") - 4])
    with pytest.raises(VideoError, match=r"\(moov\) is missing, so the recording was not finished"):
        probe_video(cut)


@pytest.mark.parametrize("name", ["/proc/kmsg", "/proc/self/mem", "/dev/zero", "/dev/null"])
def test_devices_and_files_of_the_system_are_refused_at_once(tmp_path: Path, name: str) -> None:
    link = tmp_path / "clip.mp4"
    link.symlink_to(name)
    with pytest.raises(InputError):
        probe_video(link)


def test_boxes_say_how_much_of_a_file_is_missing(clips: Path, run_ffmpeg: Callable[..., bytes]) -> None:
    path = clips / "fragments.mp4"
    run_ffmpeg(*SOURCE, "-c:v", "mpeg4", "-g", 1, "-movflags", "frag_keyframe+empty_moov", path)
    content = path.read_bytes()
    cut = clips / "cut_fragments.mp4"
    cut.write_bytes(content[: content.rindex(b"mdat") + 10])
    for file, is_whole in ((path, True), (cut, False)):
        with file.open("rb") as opened:
            boxes = read_boxes(opened, os.path.getsize(file))
        assert boxes is not None
        assert boxes.has_index
        assert (boxes.missing_bytes == 0) == is_whole


@pytest.mark.parametrize(
    "content", [b"\0\0\0\x08ftyp", b"\0\0\0\0ftyp" * 50, b"\0\0\0\1ftyp" + b"\xff" * 8, b"\0\0\0\x10moov" * 9]
)
def test_damaged_boxes_end_the_reading(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    with path.open("rb") as opened:
        assert read_boxes(opened, len(content)) is not None
    with pytest.raises(VideoError):
        probe_video(path)
