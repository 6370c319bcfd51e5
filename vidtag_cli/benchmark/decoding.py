"""What decoding costs beside ``ffmpeg -f null -`` on the same file: the floor for every program that uses ffmpeg."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidtag_cli.benchmark.timing import Stopwatch, Timing, timings
from vidtag_cli.errors import VideoError
from vidtag_cli.video.batches import frame_batches
from vidtag_cli.video.containers import FORMAT_WHITELIST, PROTOCOL_WHITELIST, file_url
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.decode_command import DecodeMode
from vidtag_cli.video.ffmpeg import ffmpeg_environment, find_ffmpeg
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.probe import probe_video

FLOOR = "ffmpeg -f null -"
FRAME_SIZE_PX = 224
BATCH_FRAMES = 32


@dataclass(frozen=True, slots=True)
class DecodeCase:
    """One way of decoding: which frames are decoded, and how many are taken per second of video (None: all)."""

    mode: DecodeMode
    sampling_fps: float | None

    @property
    def name(self) -> str:
        return f"{self.mode} {'all' if self.sampling_fps is None else f'{self.sampling_fps:g} fps'}"


CASES = (
    DecodeCase("exact", 1.0),
    DecodeCase("exact", 5.0),
    DecodeCase("exact", None),
    DecodeCase("fast", 1.0),
    DecodeCase("keyframes", 1.0),
)


@dataclass(frozen=True, slots=True)
class DecodeBenchmark:
    """Timings of the floor and of every case, all rounds in turns, with the same number of decoder threads."""

    video: str
    video_duration_s: float | None
    threads: int
    floor: Timing
    cases: tuple[Timing, ...]

    def core_ratios(self, timing: Timing) -> tuple[float, ...]:
        """Return processor seconds of each round / those of the floor in the same round."""
        return tuple(ours / floor for ours, floor in zip(timing.core_s, self.floor.core_s, strict=True))


def run_decode_benchmark(
    path: Path,
    rounds: int,
    threads: int = 1,
    cases: tuple[DecodeCase, ...] = CASES,
    progress: Callable[[float, float | None], None] | None = None,
) -> DecodeBenchmark:
    """Decode a video in every way ``rounds`` times, in turns, after one round that is not counted.

    Cuts are looked for, as locating does, but where key frames alone are decoded.
    Processor seconds hold those of ffmpeg and those that this process spends on reading its frames.
    """
    info = probe_video(path)
    watches: list[Stopwatch] = []
    frames: dict[str, int] = {}
    for number in range(rounds + 1):
        watch = Stopwatch()
        with watch.time(FLOOR):
            _decode_to_nowhere(path, info, threads)
        for case in cases:
            with watch.time(case.name):
                frames[case.name] = _decode(path, info, case, threads)
        watches += [watch] if number > 0 else []
        if progress is not None:
            progress(number + 1, rounds + 1)
    measured = timings(watches, info.frame_count or 0)
    return DecodeBenchmark(
        video=path.name,
        video_duration_s=info.duration_s,
        threads=threads,
        floor=measured[FLOOR],
        cases=tuple(
            Timing(case.name, frames[case.name], measured[case.name].wall_s, measured[case.name].core_s)
            for case in cases
        ),
    )


def _decode(path: Path, info: VideoInfo, case: DecodeCase, threads: int) -> int:
    size_wh = (FRAME_SIZE_PX, FRAME_SIZE_PX)
    with VideoDecoder(
        path,
        info,
        size_wh,
        case.sampling_fps,
        threads=threads,
        mode=case.mode,
        block_frames=BATCH_FRAMES,
        find_cuts=case.mode != "keyframes",
    ) as decoder:
        return sum(len(batch.frames_rgb) for batch in frame_batches(decoder, BATCH_FRAMES))


def _decode_to_nowhere(path: Path, info: VideoInfo, threads: int) -> None:
    argv = [
        str(find_ffmpeg().path), "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error",
        "-protocol_whitelist", PROTOCOL_WHITELIST, "-format_whitelist", FORMAT_WHITELIST,
        "-threads", str(threads), "-i", file_url(path), "-map", f"0:v:{info.video_stream}", "-f", "null", "-",
    ]  # fmt: skip
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=ffmpeg_environment(), check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise VideoError(f"{path}: ffmpeg cannot decode it ({' '.join(said) or 'no reason given'})")
