"""What is done to flights before they are located: changes that ffmpeg makes to the picture or to the file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vidtag_cli.video.decode_command import SCALE_FLAGS
from vidtag_cli.video.ffmpeg import find_ffmpeg

USUAL_CRF = 23
"""What libx264 takes by itself; every film is compressed, as footage is."""


FILM_TIMEOUT_S = 300.0
"""An ffmpeg that takes longer for a film of a few hundred small pictures hangs."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a square picture: an ffmpeg filter, and how strongly the film is compressed after it; before it,
    how much more of the ground the camera sees, from ``footprint`` times as high.
    """

    filter: str = "null"
    crf: int = USUAL_CRF
    footprint: float = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of change, whose strength is drawn: ``low`` and ``high`` are given to ``make``; ``typical`` is that of
    the table in ``docs/shift-results.md``. ``is_harmless`` where the model answers as well as on flights as they are.
    ``draws`` is how often it is drawn to fit a gate, against others: more where it is hard to see.
    """

    make: Callable[[float], Change]
    low: float
    high: float
    typical: float
    is_harmless: bool = False
    draws: float = 1.0


def _levels(gain: float, offset: float = 0.0) -> str:
    value = f"clip({offset:.3f}+val*{gain:.3f},0,255)"
    return f"lutrgb=r='{value}':g='{value}':b='{value}'"


def _bars(width: float, height: float, x: str = "(ow-iw)/2", y: str = "(oh-ih)/2", colour: str = "black") -> str:
    return f"scale=2*trunc(iw*{width:.3f}/2):2*trunc(ih*{height:.3f}/2),pad=192:192:{x}:{y}:color={colour}"


def _tilt(share: float) -> str:
    """Return a filter for a camera that looks ahead: what was the whole upper edge fills its middle ``1 - share``."""
    inset = f"W*{share / 2:.3f}"
    return f"perspective=x0=-{inset}:y0=0:x1=W+{inset}:y1=0:x2=0:y2=H:x3=W:y3=H:sense=destination"


_SEPIA = "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131"
_TEXT = (
    "drawbox=x={x}:y=ih*0.8:w=iw*0.8:h=ih*0.14:color=black@0.6:t=fill,"
    "drawgrid=x={x}+3:y=ih*0.82:w=9:h=ih*0.1:t=2:c=white"
)
"""A bar with upright strokes in the place of letters: which fonts there are differs between machines."""

KINDS: dict[str, Kind] = {
    "none": Kind(lambda _: Change(), 0.0, 1.0, 0.0, True, 2.0),
    "squashed": Kind(lambda part: Change(f"scale=192:2*trunc(96*{part:.3f})"), 0.5, 0.9, 0.56, True, 2.0),
    "rotated_90": Kind(lambda _: Change("transpose=1"), 0.0, 1.0, 0.0, True, 2.0),
    "blur": Kind(lambda sigma: Change(f"gblur=sigma={sigma:.2f}"), 0.5, 4.0, 2.0, True, 2.0),
    "noise": Kind(lambda level: Change(f"noise=alls={level:.0f}:allf=t"), 5.0, 40.0, 20.0, True, 2.0),
    "compressed": Kind(lambda crf: Change(crf=round(crf)), 28.0, 40.0, 40.0, True, 2.0),
    "compressed_strongly": Kind(lambda crf: Change(crf=round(crf)), 46.0, 51.0, 48.0),
    "grey": Kind(lambda _: Change("hue=s=0"), 0.0, 1.0, 0.0),
    "low_saturation": Kind(lambda share: Change(f"hue=s={share:.3f}"), 0.02, 0.35, 0.1),
    "dark": Kind(lambda gain: Change(_levels(gain)), 0.08, 0.5, 0.35),
    "bright": Kind(lambda gain: Change(_levels(gain, 255.0 * (1.0 - gain))), 0.25, 0.65, 0.5, draws=2.0),
    "hue": Kind(lambda angle: Change(f"hue=h={angle:.0f}"), 45.0, 315.0, 90.0),
    "sepia": Kind(lambda _: Change(_SEPIA), 0.0, 1.0, 0.0),
    "negative": Kind(lambda _: Change("negate"), 0.0, 1.0, 0.0),
    "contrast": Kind(lambda gain: Change(f"eq=contrast={gain:.2f}"), 1.6, 3.0, 1.8),
    "letterbox": Kind(lambda share: Change(_bars(1.0, share)), 0.5, 0.9, 0.75),
    "pillarbox": Kind(lambda share: Change(_bars(share, 1.0)), 0.4, 0.9, 0.6),
    "inset": Kind(lambda share: Change(_bars(share, share, "20", "10", "0x303060")), 0.3, 0.8, 0.5),
    "mirrored": Kind(lambda _: Change("hflip"), 0.0, 1.0, 0.0),
    "tilted": Kind(lambda share: Change(_tilt(share)), 0.25, 0.8, 0.5, draws=2.0),
    "cropped": Kind(lambda share: Change(f"crop=iw*{share:.3f}:ih"), 0.3, 0.7, 0.5, draws=2.0),
    "zoomed": Kind(lambda share: Change(f"crop=iw*{share:.3f}:ih*{share:.3f}"), 0.3, 0.8, 0.5, draws=2.0),
    "too_near": Kind(lambda times: Change(footprint=times), 0.35, 0.72, 0.5, draws=2.0),
    "too_far": Kind(lambda times: Change(footprint=times), 1.35, 2.2, 1.6, draws=2.0),
    "text": Kind(lambda left: Change(_TEXT.format(x=f"iw*{left:.3f}")), 0.0, 0.2, 0.05, draws=2.0),
}  # fmt: skip
"""Every kind of change, by name. Fitting draws its strength from ``low`` to ``high``, the table takes ``typical``."""


def apply_change(film_rgb: np.ndarray, change: Change, frame_size_px: int) -> np.ndarray:
    """Return a film (B, T, S, S, 3) uint8 RGB changed, encoded as H.264 and decoded again as the program decodes:
    (B, T, frame_size_px, frame_size_px, 3) uint8.

    The T frames of every clip begin with a picture of their own, so clips do not see each other in the codec.
    """
    clips, frames, height, width, _ = film_rgb.shape
    ffmpeg = [str(find_ffmpeg().path), "-nostdin", "-loglevel", "error"]
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}", "-framerate", "1"]
    even = f"{change.filter},scale=trunc(iw/2)*2:trunc(ih/2)*2"
    codec = ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(change.crf), "-pix_fmt", "yuv420p"]
    groups = ["-g", str(frames), "-keyint_min", str(frames), "-sc_threshold", "0", "-bf", "0", "-threads", "1"]
    encoded = subprocess.run(
        [*ffmpeg, *raw, "-i", "pipe:0", "-vf", even, *codec, *groups, "-f", "matroska", "pipe:1"],
        input=film_rgb.tobytes(), stdout=subprocess.PIPE, check=True, timeout=FILM_TIMEOUT_S,
    ).stdout  # fmt: skip
    scaled = f"scale={frame_size_px}:{frame_size_px}:flags={SCALE_FLAGS},format=rgb24"
    raw_again = ["-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    decoded = subprocess.run(
        [*ffmpeg, "-threads", "1", "-i", "pipe:0", "-vf", scaled, *raw_again],
        input=encoded, stdout=subprocess.PIPE, check=True, timeout=FILM_TIMEOUT_S,
    ).stdout  # fmt: skip
    return np.frombuffer(decoded, np.uint8).reshape(clips, frames, frame_size_px, frame_size_px, 3)
