"""Why a file is no video that can be read, and what to do about it, from its first bytes."""

from __future__ import annotations

from vidtag_cli.video.boxes import Boxes

HEAD_BYTES = 4096

_STILL = "a still picture ({kind}) of a form that is not read: convert it to PNG or JPEG, or give the video it is from"
_PHOTOGRAPH = "a photograph ({kind}) that cannot be decoded: get a copy that is whole"
_ARCHIVE = "an archive ({kind}): unpack it and give the video in it"
_SOUND = "sound without pictures ({kind})"
_PLAYLIST = "a playlist ({kind}), which only names other files: give the media file itself"
_PAGE = "a web page: a download failed and got this instead; download the video again"

_BEGINNINGS = (
    (b"\xff\xd8\xff", _PHOTOGRAPH, "JPEG"),
    (b"\x89PNG\r\n", _PHOTOGRAPH, "PNG"),
    (b"BM", _STILL, "BMP"),
    (b"II*\0", _PHOTOGRAPH, "TIFF"),
    (b"MM\0*", _PHOTOGRAPH, "TIFF"),
    (b"\0\0\0\x0cJXL ", _STILL, "JPEG XL"),
    (b"\0\0\0\x0cjP  ", _STILL, "JPEG 2000"),
    (b"8BPS", _STILL, "Photoshop"),
    (b"GIF8", "a GIF picture, which is not a video: make one with 'ffmpeg -i {name} video.mp4'", ""),
    (b"YUV4MPEG2", "raw pictures (Y4M) without a container: make a video with 'ffmpeg -i {name} video.mkv'", ""),
    (b"PK\x03\x04", _ARCHIVE, "ZIP"),
    (b"Rar!", _ARCHIVE, "RAR"),
    (b"7z\xbc\xaf", _ARCHIVE, "7z"),
    (b"\x1f\x8b", _ARCHIVE, "gzip"),
    (b"\xfd7zXZ", _ARCHIVE, "xz"),
    (b"%PDF", "a PDF document, not a video", ""),
    (b"ID3", _SOUND, "MP3"),
    (b"fLaC", _SOUND, "FLAC"),
    (b"#EXTM3U", _PLAYLIST, "HLS or M3U"),
    (b"ffconcat", _PLAYLIST, "concat list"),
    (b"[playlist]", _PLAYLIST, "PLS"),
    (b"v=0\r\n", _PLAYLIST, "SDP"),
    (b"v=0\n", _PLAYLIST, "SDP"),
)
_RIFF_KINDS = {b"WEBP": (_PHOTOGRAPH, "WebP"), b"WAVE": (_SOUND, "WAV")}
_TEXT_BEGINNINGS = (
    (b"<mpd", _PLAYLIST, "DASH"),
    (b"<smoothstreamingmedia", _PLAYLIST, "Smooth Streaming"),
    (b"<!doctype html", _PAGE, ""),
    (b"<html", _PAGE, ""),
)
_START_CODES = (b"\0\0\0\1", b"\0\0\1")

UNFINISHED = (
    "its index (moov) is missing, so the recording was not finished or the copy was cut short: copy it again, or have "
    "the index rebuilt by a repair tool such as untrunc, from an intact clip of the same camera"
)
ENCRYPTED = "its pictures are encrypted: without the key they cannot be seen; get a copy that is not protected"
JPEG_IN_TIFF = "a TIFF whose picture is compressed as JPEG, which cannot be decoded here: convert it to PNG or JPEG"
ANIMATION = "an animated picture, neither a photograph nor a video: make one with 'ffmpeg -i {name} video.mp4'"
PICTURE_FORMAT = (
    "a picture in an MP4 container (brand {brand}: HEIC, AVIF or raw photo), still or animated, not a video; make "
    "one of an animation with 'ffmpeg -i {name} video.mp4'"
)


def reason_for_refusal(name: str, head: bytes, boxes: Boxes | None, error: str) -> str:
    """Return what a file that no accepted container reader takes is, and the remedy.

    ``head`` are its first bytes, ``boxes`` what an MP4 file says of itself, ``error`` what the reader said.
    """
    if boxes is not None and not boxes.has_index:
        return UNFINISHED
    known = _by_beginning(head) or _by_start_code(head)
    if known is not None:
        return "it is " + known[0].format(kind=known[1], name=name)
    if not head.strip(b"\0"):
        return "it begins with nothing but zeros: copy it again from where it was recorded"
    if _is_text(head):
        return "it is a text, not a video"
    return (
        f"{error}; it may be damaged, or no video container; playlists and raw streams without times are refused: give "
        "the media file itself"
    )


def _by_beginning(head: bytes) -> tuple[str, str] | None:
    if head[:4] == b"RIFF" and head[8:12] in _RIFF_KINDS:
        return _RIFF_KINDS[head[8:12]]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, sentence, kind in _BEGINNINGS:
        if head.removeprefix(b"\xef\xbb\xbf").startswith(beginning):
            return sentence, kind
    for beginning, sentence, kind in _TEXT_BEGINNINGS:
        if text.startswith(beginning) or (text.startswith(b"<?xml") and beginning in text):
            return sentence, kind
    return None


def _by_start_code(head: bytes) -> tuple[str, str] | None:
    """Return the sentence for a raw stream, whose units begin with 0 0 1, and the name of its codec."""
    start_code = next((code for code in _START_CODES if head.startswith(code)), None)
    if start_code is None or len(head) < len(start_code) + 2:
        return None
    unit = head[len(start_code)]
    codec = _codec_of(unit, head[len(start_code) + 1])
    if codec is None:
        return None
    return (
        "a raw stream ({kind}) without a time for each picture: put it in a container with "
        "'ffmpeg -framerate N -i {name} -c copy video.mp4', N being the frames per second of the camera"
    ), codec


def _codec_of(unit: int, following: int) -> str | None:
    if unit in (0xB3, 0xB8):
        return "MPEG video"
    if unit == 0xB0 or unit <= 0x2F and following in (0, 1) and unit < 0x20:
        return "MPEG-4 video"
    if unit in (0x67, 0x27, 0x47, 0x09, 0x06, 0x65):
        return "H.264"
    if unit in (0x40, 0x42, 0x44, 0x46, 0x4E) and following == 1:
        return "H.265"
    if unit in (0x00, 0x79, 0x81) and following in (0x79, 0x71, 0x8D, 0x0D):
        return "H.266"
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = head[: len(head) - 3].decode() if len(head) == HEAD_BYTES else head.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t\ufeff" for character in text)
