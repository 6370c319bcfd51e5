"""The GPS that GoPro cameras write into their videos: real files, each rule on its own, and hostile bytes."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from gopro_telemetry import gps5_payload, gps9_payload, klv, nest, write_telemetry
from real_media import RealMedia

from vidtag_cli.errors import InputError
from vidtag_cli.evaluation.truth import read_truth
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.positions.gopro import GpsSample
from vidtag_cli.positions.gopro import read_gps_samples as read_samples
from vidtag_cli.positions.gpmf_klv import MAX_DEPTH, MAX_ELEMENTS, GpmfError, parse_gpmf

UTC_2000_S = 946684800.0
"""The tracks beside the real clips count from 2000-01-01."""

TRACK_TIME_ROUNDING_S = 0.0006
"""Those tracks give milliseconds."""

SAME_PLACE_KM = 1e-5
"""They give 7 decimals of a degree, as the camera does: a centimetre."""


def read_gps_samples(path: Path) -> list[GpsSample]:
    with path.open("rb") as stream:
        return read_samples(stream)


WALK = [(33.1267, -117.3273), (33.1268, -117.3274)]


@pytest.mark.parametrize(("name", "fixes"), [("gopro_max_carlsbad", 191), ("gopro_hero5_carlsbad", 36)])
def test_real_clip_gives_the_track_beside_it(media: RealMedia, name: str, fixes: int) -> None:
    embedded, beside = read_truth(media / f"gps/{name}.mp4"), read_truth(media / f"gps/{name}.gpx")
    assert embedded.clock == "media_time"
    assert len(embedded.instants) == fixes
    assert np.abs(embedded.instants - (beside.instants - UTC_2000_S)).max() < TRACK_TIME_ROUNDING_S
    assert haversine_km(embedded.latlon_deg, beside.latlon_deg).max() < SAME_PLACE_KM


def test_gps_time_of_a_real_clip(media: RealMedia) -> None:
    assert read_gps_samples(media / "gps/gopro_max_carlsbad.mp4")[0].utc == datetime(
        2019, 11, 18, 23, 45, 14, tzinfo=UTC
    )


def test_real_clip_without_lock_is_refused_with_the_reason(media: RealMedia) -> None:
    with pytest.raises(InputError, match=r"hero8_no_lock.*no usable position.*36 without a lock"):
        read_truth(media / "gps/gopro_hero8_no_lock.mp4")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (gps5_payload(WALK, lock=0), "2 without a lock"),
        (gps5_payload(WALK, lock=2), "2 with a 2D lock only"),
        (gps5_payload(WALK, lock=None), "2 without word of a lock"),
        (gps5_payload(WALK, dilution=10.01), "2 with a dilution of precision above 10"),
        (gps9_payload(WALK, lock=0), "2 without a lock"),
        (gps9_payload(WALK, dilution=99.99), "2 with a dilution of precision above 10"),
    ],
)
def test_positions_without_a_good_lock_are_no_truth(tmp_path: Path, payload: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_truth(write_telemetry(tmp_path / "clip.mp4", [payload]))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".360", ".MP4"])
def test_samples_are_spread_over_the_payload(tmp_path: Path, suffix: str) -> None:
    path = write_telemetry(
        tmp_path / f"clip{suffix}", [gps5_payload(WALK), gps9_payload([*WALK, *WALK])], payload_ms=800
    )
    truth = read_truth(path)
    assert truth.instants == pytest.approx([0.0, 0.4, 0.8, 1.0, 1.2, 1.4])
    assert truth.latlon_deg == pytest.approx(np.array(WALK * 3))


def test_payloads_without_lock_leave_a_hole(tmp_path: Path) -> None:
    path = write_telemetry(
        tmp_path / "clip.mp4", [gps5_payload(WALK), gps5_payload([(0.0, 0.0)], lock=0), gps5_payload(WALK)]
    )
    assert read_truth(path).instants == pytest.approx([0.0, 0.5, 2.0, 2.5])
    assert len(read_gps_samples(path)) == 5


def test_gps9_is_preferred_and_knows_its_time(tmp_path: Path) -> None:
    both = gps5_payload([(1.0, 1.0)]) + gps9_payload([(2.0, 2.0)])
    (sample,) = read_gps_samples(write_telemetry(tmp_path / "clip.mp4", [both]))
    assert (sample.lat_deg, sample.dilution, sample.lock) == (2.0, 1.5, 3)
    assert sample.utc == datetime(2021, 11, 26, 1, 0, tzinfo=UTC)  # 8000 days and an hour after 2000


def test_unreadable_time_is_no_time(tmp_path: Path) -> None:
    (sample,) = read_gps_samples(
        write_telemetry(tmp_path / "clip.mp4", [gps5_payload(WALK[:1], utc="00000000000000.0")])
    )
    assert sample.utc is None


def test_video_without_telemetry_is_refused(tmp_path: Path) -> None:
    path = write_telemetry(tmp_path / "clip.mp4", [nest(b"DEVC", klv(b"DVID", b"L", 4, 1, b"\0\0\0\1"))])
    assert read_gps_samples(path) == []
    with pytest.raises(InputError, match="no GoPro telemetry with GPS"):
        read_truth(path)


@pytest.mark.parametrize("content", [b"", b"not a video at all", bytes(4096)])
def test_what_is_no_video_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"clip\.mp4"):
        read_truth(path)


def test_missing_video_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_truth(tmp_path / "absent.mp4")


def stream(*children: bytes) -> bytes:
    return nest(b"DEVC", nest(b"STRM", klv(b"GPSF", b"L", 4, 1, struct.pack(">I", 3)), *children))


ROW = struct.pack(">5i", 1, 2, 3, 4, 5)
SCALE = klv(b"SCAL", b"l", 4, 5, struct.pack(">5i", 10_000_000, 10_000_000, 1000, 1000, 100))


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (stream(klv(b"GPS5", b"l", 20, 1, ROW)), "5 fields and 0 scales"),
        (stream(klv(b"SCAL", b"l", 4, 2, bytes(8)), klv(b"GPS5", b"l", 20, 1, ROW)), "5 fields and 2 scales"),
        (stream(klv(b"SCAL", b"l", 4, 1, bytes(4)), klv(b"GPS5", b"l", 20, 1, ROW)), "scale of zero"),
        (stream(SCALE, klv(b"GPS5", b"l", 4, 1, ROW[:4])), "1 fields, not 2"),
        (stream(SCALE, klv(b"GPS5", b"l", 18, 1, ROW[:18])), "18 bytes cannot hold"),
        (stream(SCALE, klv(b"GPS5", b"c", 20, 1, ROW)), "are no numbers"),
        (stream(SCALE, klv(b"GPS9", b"?", 20, 1, ROW)), "20 bytes cannot hold"),
        (stream(SCALE, klv(b"GPS5", b"f", 20, 1, struct.pack(">5f", np.nan, 1, 1, 1, 1))), "not a number"),
        (stream(SCALE, klv(b"GPS5", b"l", 20, 1, ROW))[:-4], "promises"),
    ],
)  # fmt: skip
def test_damaged_telemetry_says_where(tmp_path: Path, payload: bytes, why: str) -> None:
    with pytest.raises(InputError, match=rf"clip\.mp4: its telemetry at 0\.000 s is damaged: .*{why}"):
        read_truth(write_telemetry(tmp_path / "clip.mp4", [payload]))


def test_latitude_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside"):
        read_truth(write_telemetry(tmp_path / "clip.mp4", [gps5_payload([(95.0, 10.0)])]))


def test_nesting_bomb_is_refused() -> None:
    payload = b""
    for _ in range(2000):
        payload = nest(b"DEVC", payload) if len(payload) < 200_000 else payload
    with pytest.raises(GpmfError, match=f"more than {MAX_DEPTH} deep"):
        parse_gpmf(payload)


def test_flood_of_elements_is_refused() -> None:
    with pytest.raises(GpmfError, match=f"more than {MAX_ELEMENTS}"):
        parse_gpmf(klv(b"DVID", b"L", 4, 0, b"") * (MAX_ELEMENTS + 1))


def test_padding_of_zeros_ends_a_payload() -> None:
    assert [each.key for each in parse_gpmf(klv(b"TMPC", b"f", 4, 1, bytes(4)) + bytes(64)).children] == ["TMPC"]


def test_odd_lengths_are_padded_to_four() -> None:
    root = parse_gpmf(klv(b"DVNM", b"c", 1, 6, b"Camera") + klv(b"TICK", b"L", 4, 1, bytes(4)))
    assert [(each.key, each.text()) for each in root.children] == [("DVNM", "Camera"), ("TICK", "")]


def test_every_cut_and_many_flips_are_refused_or_read(tmp_path: Path) -> None:
    whole = gps5_payload(WALK, utc="191118234514.000") + gps9_payload(WALK)
    rng = np.random.default_rng(7)
    damaged = [whole[:length] for length in range(8, len(whole))]
    for _ in range(400):
        content = bytearray(whole)
        for place in rng.integers(4, len(whole), size=3):
            content[place] = rng.integers(256)
        damaged.append(bytes(content))
    outcomes = {"read": 0, "refused": 0}
    for payload in damaged:
        try:
            for each in parse_gpmf(payload).nests("STRM"):
                [child.rows("lllllllSS") for child in each.children if child.key in ("GPS5", "GPS9")]
            outcomes["read"] += 1
        except GpmfError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20  # any other exception has ended the test
    read = 0
    for number, payload in enumerate(damaged[::9]):
        try:
            read += len(read_truth(write_telemetry(tmp_path / f"{number}.mp4", [payload])).instants)
        except InputError as error:
            assert f"{number}.mp4" in str(error)
    assert read > 0
