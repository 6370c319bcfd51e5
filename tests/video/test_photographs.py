"""A photograph is a clip of one frame: upright as its EXIF says, with the position it claims beside the estimate."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps

from vidtag_cli.errors import VideoError
from vidtag_cli.video.decode import VideoDecoder
from vidtag_cli.video.exif import read_exif
from vidtag_cli.video.probe import probe_video

SIZE = (64, 64)
LONDON = {1: "N", 2: (51.0, 30.0, 26.0), 3: "W", 4: (0.0, 7.0, 39.9), 5: b"\0", 6: 35.0}


def picture(width=96, height=64):
    """Return a picture whose corners differ."""
    levels = np.zeros((height, width, 3), np.uint8)
    levels[: height // 2, : width // 2], levels[: height // 2, width // 2 :] = (220, 30, 30), (30, 200, 30)
    levels[height // 2 :, : width // 2] = (40, 40, 230)
    return Image.fromarray(levels)


def with_exif(orientation=None, gps=None, taken=None):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    if gps is not None:
        exif[0x8825] = gps
    if taken is not None:
        exif[0x8769] = {0x9003: taken, 0x9011: "+02:00"}
    return exif.tobytes()


def save(folder, kind, **exif):
    path = folder / f"photo.{kind}"
    options = {"quality": 95} if kind in ("jpg", "webp") else {}
    picture().save(path, exif=with_exif(**exif), **options)
    return path


def decode(path):
    info = probe_video(path)
    with VideoDecoder(path, info, SIZE, 1.0) as decoder:
        return info, [(frame.media_time_s, np.array(frame.rgb)) for frame in decoder]


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_one_frame_that_stands_upright(tmp_path, kind, orientation):
    path = save(tmp_path, kind, orientation=orientation)
    _, frames = decode(path)
    assert [time for time, _ in frames] == [0.0]
    with Image.open(path) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    assert np.abs(frames[0][1].astype(float) - np.asarray(upright, float)).mean() < 6.0


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_what_it_says_of_itself_is_read(tmp_path, kind):
    info = probe_video(save(tmp_path, kind, gps=LONDON, taken="2024:05:06 07:08:09"))
    claim = info.embedded_location
    assert claim.lat_deg == pytest.approx(51.5072, abs=1e-4) and claim.lon_deg == pytest.approx(-0.1278, abs=1e-4)
    assert claim.alt_m == pytest.approx(35.0) and claim.source_key == "exif GPS" and claim.is_place
    assert info.tags["exif DateTimeOriginal"] == "2024:05:06 07:08:09 +02:00"
    assert info.creation_time is None and info.notes == ()


def test_a_photograph_that_says_nothing_claims_nothing(tmp_path):
    info = probe_video(save(tmp_path, "jpg"))
    assert info.embedded_location is None and info.orientation.rotation_deg == 0


@pytest.mark.parametrize(
    "gps",
    [
        {2: (51.0, 30.0, 26.0)}, {1: "N", 2: (51.0, 30.0, 26.0)}, {**LONDON, 1: "X"}, {**LONDON, 2: (91.0, 0.0, 0.0)},
        {**LONDON, 4: (181.0, 0.0, 0.0)},
    ],
)  # fmt: skip
def test_half_a_position_is_none(tmp_path, gps):
    assert probe_video(save(tmp_path, "jpg", gps=gps)).embedded_location is None


def test_null_island_is_no_place(tmp_path):
    nowhere = {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}
    assert not probe_video(save(tmp_path, "jpg", gps=nowhere)).embedded_location.is_place


def test_a_position_without_a_fix_is_no_place(tmp_path):
    assert not probe_video(save(tmp_path, "jpg", gps={**LONDON, 9: "V"})).embedded_location.is_place


def test_a_tiff_that_holds_a_jpeg_is_refused(tmp_path):
    path = tmp_path / "photo.tif"
    picture().save(path, compression="jpeg")
    with pytest.raises(VideoError, match="compressed as JPEG"):
        probe_video(path)


def test_many_entries_that_point_at_the_same_bytes_are_not_read(tmp_path):
    entries = b"".join(struct.pack("<HHII", 0x9000 + number, 7, 1 << 20, 8) for number in range(3000))
    tiff = b"II*\0" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + struct.pack("<H", 3000) + entries + bytes(4)
    tracemalloc.start()
    read_exif(io.BytesIO(tiff[:8] + tiff[8:]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_half_a_photograph_is_called_so(tmp_path, kind):
    path = save(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(VideoError, match="photograph|no frame|decoded"):
        decode(path)


def test_of_several_pages_the_first_is_used_and_that_is_said(tmp_path):
    path = tmp_path / "pages.tif"
    picture().save(path, save_all=True, append_images=[picture(32, 32), picture(32, 32)])
    info, frames = decode(path)
    assert info.notes == ("only the first of 3 pictures in the file is used",) and len(frames) == 1
    assert (info.width_px, info.height_px) == (96, 64)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_an_animation_is_neither(tmp_path, kind):
    path = tmp_path / f"moves.{kind}"
    picture().save(path, save_all=True, append_images=[picture().rotate(20)])
    with pytest.raises(VideoError, match=f"an animated picture, neither a photograph nor a video.*moves.{kind}"):
        probe_video(path)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_a_photograph_without_a_picture_is_refused(tmp_path, kind):
    path = save(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(VideoError, match="photo"):
        decode(path)


def test_no_changed_byte_of_exif_is_more_than_another_claim(tmp_path):
    """Damage of EXIF leads to other numbers or none, never to an error or a long search."""
    good = bytearray(save(tmp_path, "jpg", orientation=6, gps=LONDON, taken="2024:05:06 07:08:09").read_bytes())
    begin = good.find(b"Exif")
    rng = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(good)
        for at in rng.integers(begin, begin + 400, 3).tolist():
            changed[at] = int(rng.integers(256))
        claim = read_exif(io.BytesIO(bytes(changed))).location
        assert claim is None or (abs(claim.lat_deg) <= 90.0 and abs(claim.lon_deg) <= 180.0)


def test_a_directory_that_leads_to_itself_ends():
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 0) + struct.pack("<I", 8)
    assert read_exif(io.BytesIO(tiff)).pages == 1
