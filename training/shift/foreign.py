"""What a model answers on footage that is not of its world at all: real clips of other kinds, and made pictures."""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.shift.locate_film import tracks_of
from vidtag_cli.errors import InputError, UsageError, VideoError
from vidtag_cli.files import replace_file
from vidtag_cli.pipeline.locate import LocateOptions
from vidtag_cli.pipeline.run import locate_unchanged
from vidtag_cli.pipeline.session import Session, open_session
from vidtag_cli.pipeline.windows import EmbeddedFrames
from vidtag_cli.video.ffmpeg import find_ffmpeg

_log = logging.getLogger("training")

SIZE, SECONDS, FPS = "480x270", 10, 25
MADE_TIMEOUT_S = 300.0

_HELD = "loop=loop=-1:size=1:start=0"
_RADIUS = "hypot(X-240-100*sin(T/2),Y-135)"
SOURCES = {
    "smptebars": "smptebars=s={size}:r={fps}",
    "pal100bars": "pal100bars=s={size}:r={fps}",
    "testsrc": "testsrc=s={size}:r={fps}",
    "testsrc2": "testsrc2=s={size}:r={fps}",
    "rgbtestsrc": "rgbtestsrc=s={size}:r={fps}",
    "yuvtestsrc": "yuvtestsrc=s={size}:r={fps}",
    "allyuv": "allyuv=r={fps},scale={size}",
    "allrgb": "allrgb=r={fps},scale={size}",
    "colorchart": "colorchart=r={fps}:patch_size=80x45",
    "colorspectrum": "colorspectrum=s={size}:r={fps}",
    "haldclut": "haldclutsrc=level=8:r={fps},scale={size}",
    "mandelbrot": "mandelbrot=s={size}:r={fps}",
    "sierpinski": "sierpinski=s={size}:r={fps}",
    "life": "life=s={size}:r={fps}:mold=10:ratio=0.1:seed=3:death_color=#C83232:life_color=#00ff00",
    "cellauto": "cellauto=s={size}:r={fps}:rule=110:seed=3",
    "gradients": "gradients=s={size}:r={fps}:seed=3:speed=0.02",
    "green_gradients": "gradients=s={size}:r={fps}:seed=5:c0=0x204020:c1=0x90a060:c2=0x102840:nb_colors=3:speed=0.02",
    "zoneplate": "zoneplate=s={size}:r={fps}:kt2=2",
    "noise": "color=0x808080:s={size}:r={fps},noise=alls=80:allf=t:all_seed=3",
    "noise_held": "color=0x808080:s={size}:r={fps},noise=alls=80:all_seed=3," + _HELD,
    "disc_in_blue": f"color=0x183060:s={{size}}:r={{fps}},geq=r='if(lt({_RADIUS},60),160,24)'"
    f":g='if(lt({_RADIUS},60),140,48)':b='if(lt({_RADIUS},60),90,96)'",
    "pong": "color=black:s={size}:r={fps},drawbox=x=10:y=100:w=8:h=60:c=white:t=fill,"
    "drawgrid=x=236:y=0:w=480:h=24:t=8:c=white",
    "terrain": "perlin=s={size}:r={fps}:octaves=6:persistence=0.6:tscale=0.1:seed=3,"
    "colorize=hue=110:saturation=0.35:lightness=0.4:mix=0.4",
    "terrain_and_sea": "perlin=s={size}:r={fps}:octaves=6:persistence=0.6:tscale=0.1:seed=9,format=gbrp,"
    "lutrgb=r='if(lt(val,128),20,val)':g='if(lt(val,128),40,val*0.9)':b='if(lt(val,128),80,val*0.6)'",
    "ice": "perlin=s={size}:r={fps}:octaves=5:persistence=0.7:tscale=0.05:seed=4,format=gbrp,"
    "lutrgb=r='190+val*0.25':g='200+val*0.2':b='210+val*0.17'",
    "sand": "perlin=s={size}:r={fps}:octaves=7:persistence=0.8:tscale=0.05:seed=5,format=gbrp,"
    "lutrgb=r='140+val*0.4':g='110+val*0.36':b='70+val*0.25'",
    "screen": "color=0xf0f0f0:s={size}:r={fps},drawbox=x=0:y=0:w=480:h=28:c=0x3060a0:t=fill,"
    "drawgrid=x=20:y=48:w=7:h=14:t=2:c=0x404040,drawbox=x=mod(t*40\\,480):y=200:w=60:h=40:c=0xd04040:t=fill",
}  # fmt: skip
"""Name -> what ffmpeg makes by itself: bars, test patterns, noise, fractals, drawings, screens, terrain of no world."""

CHANGES = {"as it is": "null", "grey": "hue=s=0", "saturation 10 %": "hue=s=0.1", "dark": "eq=brightness=-0.3"}
RATES_FPS: tuple[float | None, ...] = (1.0, 5.0, None)
"""Frames analysed per second; None is all of them."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How many of the frames of one clip were located, one way of running."""

    clip: str
    change: str
    rate_fps: float | None
    gallery: str
    mode: str
    located: int
    frames: int


def write_foreign(
    model: str,
    out: Path,
    clips: Sequence[Path],
    galleries: Sequence[Path],
    changes: Sequence[str] = tuple(CHANGES),
    made: Sequence[str] = tuple(SOURCES),
) -> str:
    """Write how many frames of foreign clips are located, and every clip of which any is; return the text.

    Clips are those named and the ``SOURCES`` named in ``made``, each under each of the ``CHANGES`` named, at each of
    ``RATES_FPS``, frame by frame and on a path, among the model's own places and those of each gallery. Raises
    UsageError for a change or a source that there is not.
    """
    for option, names, known in (("--change", changes, CHANGES), ("--made", made, SOURCES)):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(f"{option} {unknown[0]}: there is none; there are {', '.join(known)}")
    sessions = {"own": open_session(model)} | {path.name: open_session(model, gallery_path=path) for path in galleries}
    results: list[Answered] = []
    with tempfile.TemporaryDirectory() as folder:
        sources: list[Path | str] = [*clips, *made]
        for source in sources:
            name = source.name if isinstance(source, Path) else source
            for change in changes:
                video = _make(source, change, Path(folder))
                if video is not None:
                    results += _locate(sessions, video, name, change)
                    video.unlink()
            _log.info("%s: %d of %d frames located so far", name, *_sums(results))
    text = _markdown(sessions["own"], results)
    replace_file(out, text.encode())
    return text


def _make(source: Path | str, change: str, folder: Path) -> Path | None:
    """Return a changed copy of a clip, or a made one; None, with a word in the log, where ffmpeg cannot read it."""
    video = folder / "clip.mp4"
    if isinstance(source, Path):
        begin = ["-protocol_whitelist", "file", "-i", f"file:{source}", "-map", "0:v:0"]
    else:
        begin = ["-f", "lavfi", "-i", SOURCES[source].format(size=SIZE, fps=FPS)]
    filters = f"{CHANGES[change]},scale=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p"
    command = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-y", *begin, "-t", str(SECONDS)]
    codec = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-an"]
    made = subprocess.run(
        [*command, "-vf", filters, *codec, str(video)], stderr=subprocess.PIPE, timeout=MADE_TIMEOUT_S, check=False
    )
    if made.returncode:
        if not isinstance(source, Path):
            raise InputError(f"{source}: {made.stderr.decode(errors='replace').strip()}")
        _log.info("%s: left out, ffmpeg cannot read it", source.name)
        return None
    return video


def _locate(sessions: dict[str, Session], video: Path, clip: str, change: str) -> Iterator[Answered]:
    for rate_fps in RATES_FPS:
        embedded: list[EmbeddedFrames] = []
        options = LocateOptions(sampling_fps=rate_fps, all_frames=rate_fps is None)
        try:
            locate_unchanged(video, sessions["own"], options, watch=embedded.append)
        except VideoError as error:
            _log.info("%s: left out: %s", clip, error)
            return
        for gallery, session in sessions.items():
            for mode, track in zip(("frame by frame", "on a path"), tracks_of(session, embedded), strict=True):
                located = sum(point.status == "ok" for point in track.points)
                yield Answered(clip, change, rate_fps, gallery, mode, located, len(track.points))


def _sums(results: Sequence[Answered]) -> tuple[int, int]:
    return sum(result.located for result in results), sum(result.frames for result in results)


def _markdown(session: Session, results: Sequence[Answered]) -> str:
    clips = len({result.clip for result in results})
    lines = [
        f"Model {session.bundle.name} {session.bundle.contract.version}, {clips} clips, {SECONDS} s of each at most.\n",
        "| change | frames a second | places | mode | frames located | of |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    ways = dict.fromkeys((result.change, result.rate_fps, result.gallery, result.mode) for result in results)
    for change, rate_fps, gallery, mode in ways:
        of_way = [
            result for result in results
            if (result.change, result.rate_fps, result.gallery, result.mode) == (change, rate_fps, gallery, mode)
        ]  # fmt: skip
        located, frames = _sums(of_way)
        lines.append(f"| {change} | {_rate(rate_fps)} | {gallery} | {mode} | {located} | {frames} |")
    located, frames = _sums(results)
    lines.append(
        f"\nIn all {located} of {frames} ({located / max(1, frames):.2%}). Every clip of which any was located:\n"
    )
    lines += [
        f"- {result.clip}, {result.change}, {_rate(result.rate_fps)} a second, {result.gallery}, {result.mode}: "
        f"{result.located} of {result.frames}"
        for result in results
        if result.located
    ]
    return "\n".join(lines) + "\n"


def _rate(rate_fps: float | None) -> str:
    return "all" if rate_fps is None else f"{rate_fps:g}"
