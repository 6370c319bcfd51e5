"""CityGuessr68k in its true layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import finding, losses, notes, write_image, write_table
from scan_books import unaccounted
from synthetic_video import write_video

from training.data.cityguessr import CityVideos
from training.data.sample import Place
from vidtag_cli.errors import InputError


def write_frames(folder: Path, count: int) -> Path:
    for number in range(1, count + 1):
        write_image(folder / f"{number}.jpg", number)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with two videos of Abu Dhabi and one of Oslo; a line of a list goes on with numbers."""
    root = tmp_path / "cityguessr"
    write_table(root / "meta" / "labels_list.csv", "City,State,Country,Continent", [
        "Abu_Dhabi,Abu_Dhabi,United_Arab_Emirates,Asia", "Oslo,,Norway,Europe"])  # fmt: skip
    write_table(
        root / "meta" / "city_centers.csv", "city,lat,lon", ["Abu_Dhabi,24.4539,54.3773", "Oslo,59.9139,10.7522"]
    )
    write_list(root, "train", "Abu_Dhabi_0000", "Oslo_0007")
    write_list(root, "val", "Abu_Dhabi_0001")
    write_frames(root / "videos" / "train" / "Abu_Dhabi" / "Abu_Dhabi_0000", 18)
    write_frames(root / "videos" / "train" / "Oslo" / "Oslo_0007", 16)
    write_frames(root / "videos" / "val" / "Abu_Dhabi" / "Abu_Dhabi_0001", 17)
    return root


def write_list(root: Path, part: str, *names: str) -> None:
    (root / "meta" / f"{part}_labels_text.txt").write_text("".join(f"{name},0,0,0,0,0.25,0.5\n" for name in names))


def test_frames_in_order_of_their_numbers_at_the_centre_of_the_city(root: Path) -> None:
    result = CityVideos(root).scan()
    assert [(each.key, len(each), each.official_split) for each in result.samples] == [
        ("cityguessr/train/Abu_Dhabi_0000", 18, "train"),
        ("cityguessr/train/Oslo_0007", 16, "train"),
        ("cityguessr/val/Abu_Dhabi_0001", 17, "val"),
    ]
    first, oslo, _ = result.samples
    assert [source.path.stem for source in first.frames] == [str(number) for number in range(1, 19)]
    assert first.time_s.tolist() == list(range(18))
    assert first.place == Place("Abu Dhabi", "Abu Dhabi", "United Arab Emirates", "Asia")
    assert oslo.place == Place("Oslo", None, "Norway", "Europe")
    assert np.all(oslo.latlon_deg == [59.9139, 10.7522])
    assert result.report.found == {"centre": 2, "frame": 51, "sequence": 3, "video": 3}
    assert result.report.kept == result.report.found
    assert result.report.findings == ()


def test_every_fault_is_counted_with_its_reason(root: Path) -> None:
    write_table(root / "meta" / "city_centers.csv", "city,lat,lon", [
        "Abu_Dhabi,24.4539,54.3773", "Oslo,59.9139,10.7522", "Oslo,60,11", "Null,0,0", "Swapped,139,35", "Text,a,b",
        "Elsewhere,1,1"])  # fmt: skip
    train = root / "videos" / "train"
    frames = train / "Abu_Dhabi" / "Abu_Dhabi_0000"
    (frames / "5.jpg").unlink()
    write_image(frames / "7.png")
    write_image(frames / "cover.jpg")
    (frames / "notes.txt").touch()
    write_frames(train / "Oslo" / "Oslo_0008", 15)
    write_frames(train / "Null" / "Null_0000", 16)
    write_frames(train / "Elsewhere" / "Elsewhere_0000", 16)
    write_frames(train / "Oslo" / "Oslo_0099", 1)
    write_video(train / "Oslo" / "Oslo_0009.mp4", 17.0, fps=2, size="32x32")
    (train / "Oslo" / "Oslo_0010.mp4").write_bytes(b"no video")
    write_list(root, "train", "Abu_Dhabi_0000", "Oslo_0007", "Oslo_0008", "Oslo_0009", "Oslo_0010", "Null_0000",
               "Elsewhere_0000", "Gone_0000", "/disk/of/its/makers/Oslo_0007")  # fmt: skip
    write_list(root, "val", "Abu_Dhabi_0001", "Abu_Dhabi_0000")
    result = CityVideos(root).scan()
    assert [(each.key, len(each)) for each in result.samples] == [
        ("cityguessr/train/Abu_Dhabi_0000", 17), ("cityguessr/train/Elsewhere_0000", 16),
        ("cityguessr/train/Oslo_0007", 16), ("cityguessr/train/Oslo_0009", 17), ("cityguessr/val/Abu_Dhabi_0001", 17),
    ]  # fmt: skip
    assert result.report.found == {"centre": 7, "frame": 100, "sequence": 6, "video": 11}
    assert losses(result.report) == {
        ("centre", "duplicate_key"): 1,
        ("centre", "position_not_finite"): 1,
        ("centre", "position_null_island"): 1,
        ("centre", "position_out_of_range"): 1,
        ("frame", "duplicate_frame_number"): 1,
        ("frame", "frame_unnumbered"): 1,
        ("frame", "sequence_short"): 15,
        ("sequence", "sequence_short"): 1,
        ("video", "city_without_centre"): 1,
        ("video", "duplicate_key"): 2,
        ("video", "no_sequence"): 1,
        ("video", "video_missing"): 1,
        ("video", "video_unreadable"): 1,
    }
    assert notes(result.report) == {
        ("file", "not_an_image"): 1,
        ("frame", "frame_missing"): 1,
        ("video", "city_without_names"): 1,
        ("video", "video_unlisted"): 1,
    }
    assert unaccounted(result.report) == {}
    assert finding(result.report, "frame_missing").examples == ("videos/train/Abu_Dhabi/Abu_Dhabi_0000: 1 of 18",)
    assert str(root) not in str(result.report.findings)
    by_key = {each.key: each for each in result.samples}
    assert by_key["cityguessr/train/Abu_Dhabi_0000"].time_s.tolist() == [0, 1, 2, 3, *range(5, 18)]
    assert by_key["cityguessr/train/Elsewhere_0000"].place is None


def test_folders_of_the_archives_themselves(root: Path) -> None:
    for name in ("train", "val"):
        (root / "videos" / name).rename(root / name)
    for path in (root / "meta").iterdir():
        path.rename(root / path.name)
    assert len(CityVideos(root).scan().samples) == 3


def test_missing_centres_say_what_to_make(root: Path) -> None:
    (root / "meta" / "city_centers.csv").unlink()
    with pytest.raises(InputError, match="city, lat, lon"):
        CityVideos(root).scan()


def test_other_centres_on_request(root: Path, tmp_path: Path) -> None:
    centres = write_table(tmp_path / "centres.csv", "city,lat,lon", ["Oslo,60,180"])
    result = CityVideos(root, centres).scan()
    (oslo,) = result.samples
    assert oslo.latlon_deg[0].tolist() == [60.0, -180.0]
    assert losses(result.report) == {("video", "city_without_centre"): 2}


def test_foreign_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels_list\.csv"):
        CityVideos(tmp_path).scan()
