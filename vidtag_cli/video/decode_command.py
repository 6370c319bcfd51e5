"""The one command line with which ffmpeg decodes a video: drop, turn, crop and scale, and tell the times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import ffmpeg

from vidtag_cli.errors import ModelError, UsageError
from vidtag_cli.video.borders import NO_BORDERS, Borders
from vidtag_cli.video.containers import FORMAT_WHITELIST, PROTOCOL_WHITELIST, file_url
from vidtag_cli.video.ffmpeg import FfmpegBinary
from vidtag_cli.video.info import VideoInfo
from vidtag_cli.video.limits import DEFAULT_LIMITS
from vidtag_cli.video.sampling import SamplingGrid

Resize = Literal["squash", "center_crop"]

DecodeMode = Literal["exact", "fast", "keyframes"]
"""Which frames are decoded and so can be used: all; those that other frames refer to; key frames."""

DecodeDevice = str
"""Where video is decoded: ``cpu``, ``cuda`` or, of several graphics cards, ``cuda:1``."""

_DECODE_DEVICE_FORM = re.compile(r"cpu|cuda(?::([0-9]+))?")

SKIPPED_FRAMES: Mapping[DecodeMode, str] = {"fast": "noref", "keyframes": "nokey"}
"""The value of ffmpeg's ``-skip_frame``. The loop filter is never skipped: later pictures would drift."""

SCALE_FLAGS = "bicubic+accurate_rnd+full_chroma_int"
"""Near to PIL's bicubic, with equal pixels from ffmpeg 5.1 to 9. ``param1`` would come nearer, but 5.1 misreads it."""

SCALED_FORMAT = "gbrp"
"""What pictures are scaled to. swscale's vertical step is vectorised to planar RGB and not to packed RGB, which the
small picture then becomes; and rounded only once, pixels are nearer to PIL's than by way of YUV.
"""

MAX_ELONGATION = 8
"""A picture more than this many times as long as the one asked for loses its ends before it is scaled: scaled whole, a
strip of 16 x 10,000 pixels would take 100 MB. None of what it loses would have been kept.
"""

ROUNDING_SLACK = 1e-6
"""Sides that come out whole must not be rounded down for the sake of a pixel's shape that is no binary fraction."""

DOWNLOADED_FORMATS: Mapping[str, str] = {
    "yuv420p": "nv12",
    "yuvj420p": "nv12",
    "yuv420p10le": "p010le",
    "yuv420p12le": "p016le",
    "yuv444p": "yuv444p",
    "yuv444p10le": "yuv444p16le",
    "yuv444p12le": "yuv444p16le",
}
"""Pixel format of a stream to the one in which NVDEC holds its pictures, which alone can be downloaded.

Offered several, ffmpeg takes the first before it knows what the decoder gives, and pictures of 10 bits fail.
"""

THUMBNAIL_WH = (32, 18)
"""Of every decoded frame, for finding cuts: single pixels of its brightness, which cost a hundredth of decoding it."""

TIMES_KEY = "vidtag"
DECODED_MARK = "decoded"
USED_MARK = "used"

_INPUT_STAND_IN = "file:input"
_FAR_APART = "N*1000/TB"
"""Times of pictures of which only the order counts: far apart, for the muxer counts in frames of the average rate."""
_TRANSPOSITIONS = {90: "clock", 270: "cclock"}


def decode_argv(
    binary: FfmpegBinary,
    path: Path,
    info: VideoInfo,
    size_wh: tuple[int, int],
    grid: SamplingGrid | None,
    resize: Resize,
    threads: int,
    times_fd: int,
    mode: DecodeMode = "exact",
    device: DecodeDevice = "cpu",
    thumbnails_fd: int | None = None,
    max_pixels: int = DEFAULT_LIMITS.decoder_pixels,
    borders: Borders = NO_BORDERS,
) -> list[str]:
    """Return the command that writes rgb24 frames to standard output and the time of each frame to ``times_fd``; and a
    grey thumbnail of every decoded frame, in use or not, to ``thumbnails_fd``, if there is one.

    Times go over their own descriptor because standard error mixes them with the decoder's complaints and prints them
    with six digits only. Every decoded frame gives the lines ``frame:… pts:…`` and ``vidtag=decoded``, and each one
    in use the same again with ``vidtag=used``; pts counts in the time base of ``info``.

    Without a ``grid`` every frame is in use. ``borders`` of the shown picture are cut away first, also of thumbnails;
    pictures of another size than that in ``info`` lose the same share. Pictures of more than ``max_pixels`` are an
    error to the decoder.

    With ``cuda`` or ``cuda:1`` the pictures stay on the graphics card until one or its thumbnail is used. A decoder
    that fell back to the CPU, which ffmpeg does by itself, would give pictures that cannot be downloaded: ffmpeg then
    ends with an error. Raises ModelError for a pixel format that NVDEC does not decode.
    """
    # The turn comes after the selection and not, by -autorotate, before it: turning every frame of a phone's video
    # costs a sixth of the decoding.
    source = ffmpeg.input(
        _INPUT_STAND_IN,
        protocol_whitelist=PROTOCOL_WHITELIST,
        format_whitelist=FORMAT_WHITELIST,
        threads=threads,
        # Else one presentation time out of order makes the decoder put decoding times in place of all that follow.
        fflags="+igndts",
        noautorotate=None,
        max_pixels=max_pixels,
        **({"skip_frame": SKIPPED_FRAMES[mode]} if mode in SKIPPED_FRAMES else {}),
        **hardware_options(device),
    )
    time_base = info.time_base
    frames = source[f"v:{info.video_stream}"].filter("settb", expr=f"{time_base.numerator}/{time_base.denominator}")
    frames = _report_times(frames, "add", DECODED_MARK, times_fd)
    outputs = []
    if thumbnails_fd is not None:
        branches = frames.split()
        frames = branches[0]
        small = _thumbnail(_cut(_downloaded(branches[1], device, info), info, borders)).filter(
            "setpts", expr=_FAR_APART
        )
        outputs.append(
            ffmpeg.output(small, f"pipe:{thumbnails_fd}", format="rawvideo", pix_fmt="gray", fps_mode="passthrough")
        )
    if grid is not None:
        frames = frames.filter("select", expr=grid.expression)
    frames = _report_times(frames, "modify", USED_MARK, times_fd)
    frames = _cut(_downloaded(frames, device, info), info, borders)
    frames = _picture(_upright(frames, info), size_wh, resize)
    frames = frames.filter("setpts", expr=_FAR_APART)
    outputs.insert(0, ffmpeg.output(frames, "pipe:1", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough"))
    switches = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "repeat+error", "-copyts"]
    # ffmpeg-python cannot take a name that is not UTF-8, so the stand-in is replaced afterwards.
    arguments = ffmpeg.merge_outputs(*outputs).get_args() if len(outputs) > 1 else outputs[0].get_args()
    arguments = [file_url(path, info.descriptor) if argument == _INPUT_STAND_IN else argument for argument in arguments]
    return [str(binary.path), *switches, "-filter_complex_threads", "1", *arguments]


def hardware_options(device: DecodeDevice) -> dict[str, str]:
    """Return the options that decode on a graphics card, by default the first, and keep pictures there; none for cpu.

    Raises UsageError for a device that does not exist.
    """
    form = _DECODE_DEVICE_FORM.fullmatch(device)
    if form is None:
        raise UsageError(f"{device}: unknown device for decoding; use cpu, cuda or cuda:1")
    if device == "cpu":
        return {}
    return {"hwaccel": "cuda", "hwaccel_device": form[1] or "0", "hwaccel_output_format": "cuda"}


def _report_times(frames: Any, mode: str, mark: str, times_fd: int) -> Any:
    marked = frames.filter("metadata", mode=mode, key=TIMES_KEY, value=mark)
    return marked.filter("metadata", mode="print", key=TIMES_KEY, file=f"pipe:{times_fd}", direct=1)


def _downloaded(frames: Any, device: DecodeDevice, info: VideoInfo) -> Any:
    if device == "cpu":
        return frames
    download_format = DOWNLOADED_FORMATS.get(info.pixel_format or "")
    if download_format is None:
        raise ModelError(
            f"{info.path}: NVDEC cannot decode {info.codec} with pixels as {info.pixel_format or 'nobody knows'}: "
            "use --decode-device cpu"
        )
    return frames.filter("hwdownload").filter("format", pix_fmts=download_format)


def _cut(frames: Any, info: VideoInfo, borders: Borders) -> Any:
    """Return frames without their borders; before they are turned, so that there is less to turn."""
    if not borders:
        return frames
    left, top, right, bottom = borders.as_stored(info.orientation).widths()
    width_px, height_px = info.width_px, info.height_px
    # Products before quotients: of pictures of the stated size these are whole numbers.
    return frames.filter(
        "crop",
        w=f"max(1,iw*{width_px - left - right}/{width_px})",
        h=f"max(1,ih*{height_px - top - bottom}/{height_px})",
        x=f"iw*{left}/{width_px}",
        y=f"ih*{top}/{height_px}",
        exact=1,
    )


def _thumbnail(frames: Any) -> Any:
    """Return frames of single pixels of each: averages would cost as much as the model's own frames."""
    width_px, height_px = THUMBNAIL_WH
    return frames.filter("scale", w=width_px, h=height_px, flags="neighbor").filter("format", pix_fmts="gray")


def _upright(frames: Any, info: VideoInfo) -> Any:
    rotation_deg = info.orientation.rotation_deg
    if rotation_deg in _TRANSPOSITIONS:
        frames = frames.filter("transpose", dir=_TRANSPOSITIONS[rotation_deg])
    elif rotation_deg == 180:
        frames = frames.filter("hflip").filter("vflip")
    return frames.filter("hflip") if info.orientation.is_mirrored else frames


def _picture(frames: Any, size_wh: tuple[int, int], resize: Resize) -> Any:
    width_px, height_px = size_wh
    is_cut = resize == "center_crop"
    if is_cut:
        frames = _shortened(frames, width_px / height_px)
    scaled_wh = _covering_size(width_px, height_px) if is_cut else (width_px, height_px)
    scaled = frames.filter("scale", w=scaled_wh[0], h=scaled_wh[1], flags=SCALE_FLAGS)
    scaled = scaled.filter("format", pix_fmts=SCALED_FORMAT)
    if is_cut:
        # Of an odd number of pixels too many, the smaller half goes on the left and above, as in CLIP's processor.
        scaled = scaled.filter("crop", w=width_px, h=height_px, x="floor((iw-ow)/2)", y="floor((ih-oh)/2)")
    return scaled.filter("scale", flags=SCALE_FLAGS).filter("format", pix_fmts="rgb24")


def _shortened(frames: Any, aspect: float) -> Any:
    """Return frames without the ends of pictures too long to be scaled whole."""
    wide, high = f"ih*{MAX_ELONGATION * aspect}/sar", f"iw*sar*{MAX_ELONGATION / aspect}"
    return frames.filter("crop", w=f"min(iw,{wide})", h=f"min(ih,{high})", exact=1)


def _covering_size(width_px: int, height_px: int) -> tuple[str, str]:
    """Return width and height, as expressions, of the shown picture scaled until it just covers so many pixels.

    The long side is rounded down, as CLIP's processor does: rounded otherwise, or cut before it is scaled, the picture
    would be off by up to 0.7 pixels.
    """
    width = f"max({width_px},floor({height_px}*iw*sar/ih+{ROUNDING_SLACK}))"
    height = f"max({height_px},floor({width_px}*ih/(iw*sar)+{ROUNDING_SLACK}))"
    return width, height
