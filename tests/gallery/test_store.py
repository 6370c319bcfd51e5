"""A gallery on disk: what is saved comes back, and what is damaged or foreign is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import ModelError, OutputError
from vidtag_cli.gallery import store
from vidtag_cli.gallery.store import Gallery, GalleryOrigin, open_gallery
from vidtag_cli.gallery.writing import save_gallery
from vidtag_cli.geo.grid import equal_area_grid

ENCODER_SHA256 = "ab" * 32
Embed = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def gallery(build: Callable[..., Gallery], embed_plane: Embed) -> Gallery:
    return build(equal_area_grid(400.0, -20.0, 170.0, 20.0, -160.0), embed_plane, wraps=False)


def edit_note(gallery: Gallery, **changes: object) -> None:
    note = gallery.path / "gallery.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | changes))


def test_what_is_saved_comes_back(gallery: Gallery, embed_plane: Embed) -> None:
    again = open_gallery(gallery.path, ENCODER_SHA256, verify=True)
    np.testing.assert_array_equal(again.latlon_deg, equal_area_grid(400.0, -20.0, 170.0, 20.0, -160.0))
    np.testing.assert_array_equal(again.embeddings[: again.points], embed_plane(again.latlon_deg).astype(np.float16))
    assert isinstance(again.embeddings, np.memmap)
    assert again.contract == gallery.contract
    assert again.contract.bounding_box_deg[0] > again.contract.bounding_box_deg[2]
    assert again.contract.origin.source == "a test"
    assert again.alias_of.size > 0


def test_the_note_lists_the_hash_of_every_file(gallery: Gallery) -> None:
    note = json.loads((gallery.path / "gallery.json").read_text())
    files = {file.name for file in gallery.path.iterdir()} - {"gallery.json"}
    assert note["files"].keys() == files
    assert all(sha256_of(gallery.path / name) == note["files"][name]["sha256"] for name in files)


def test_another_encoders_gallery_is_refused(gallery: Gallery) -> None:
    with pytest.raises(ModelError, match="vidtag gallery build"):
        open_gallery(gallery.path, "cd" * 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "vidtag-gallery/2"}, "reads .vidtag-gallery/1."),
        ({"points": 3}, "promises"),
        ({"width": 7}, "promises"),
        ({"rows": 10**9}, "promises"),
        ({"surprise": 1}, "surprise"),
        ({"cell_area_km2": None}, "cell_area_km2.npy"),
        ({"cell_area_km2": -4.0}, "cell_area_km2: expected a number from"),
        ({"files": {}}, "does not list"),
        ({"files": {"../../etc/passwd": {"bytes": 1, "sha256": ""}}}, "no file of a gallery"),
    ],
)
def test_notes_that_do_not_fit_are_refused(gallery: Gallery, changes: dict[str, object], message: str) -> None:
    edit_note(gallery, **changes)
    with pytest.raises(ModelError, match=message):
        open_gallery(gallery.path, ENCODER_SHA256)


def test_a_changed_byte_is_found_when_verified_and_a_changed_size_always(gallery: Gallery) -> None:
    file = gallery.path / "embeddings.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    open_gallery(gallery.path, ENCODER_SHA256)
    with pytest.raises(ModelError, match="SHA-256"):
        open_gallery(gallery.path, ENCODER_SHA256, verify=True)
    file.write_bytes(content[:-2])
    with pytest.raises(ModelError, match="bytes instead of"):
        open_gallery(gallery.path, ENCODER_SHA256)


def test_a_link_out_of_the_folder_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    file = gallery.path / "coordinates.npy"
    file.rename(tmp_path / "elsewhere.npy")
    file.symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(ModelError, match="symbolic link"):
        open_gallery(gallery.path, ENCODER_SHA256)


def test_pickled_arrays_are_refused(gallery: Gallery) -> None:
    file = gallery.path / "coordinates.npy"
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    note = json.loads((gallery.path / "gallery.json").read_text())
    note["files"]["coordinates.npy"]["bytes"] = file.stat().st_size
    edit_note(gallery, files=note["files"])
    with pytest.raises(ModelError, match=r"coordinates\.npy: "):
        open_gallery(gallery.path, ENCODER_SHA256)


@pytest.mark.parametrize("bad", [[91.0, 0.0], [0.0, 180.0], [np.nan, 0.0]])
def test_coordinates_off_the_globe_are_refused(gallery: Gallery, bad: list[float]) -> None:
    latlon_deg = np.array(gallery.latlon_deg)
    latlon_deg[2] = bad
    np.save(gallery.path / "coordinates.npy", latlon_deg)
    with pytest.raises(ModelError, match="outside"):
        open_gallery(gallery.path, ENCODER_SHA256)


@pytest.mark.parametrize("change", [{0: -1}, {-1: 10**9}, {1: 0}, {-1: None}, {1: "as before"}], ids=str)
def test_second_longitudes_of_points_that_are_not_there_are_refused(build, embed_plane: Embed, change) -> None:
    gallery = build(equal_area_grid(100.0, -5.0, 178.0, 5.0, -178.0), embed_plane, wraps=False)
    assert len(gallery.alias_of) > 3
    alias_of = np.array(gallery.alias_of)
    ((index, value),) = change.items()
    alias_of[index] = {None: gallery.points, "as before": alias_of[0]}.get(value, value)
    np.save(gallery.path / "alias_of.npy", alias_of)
    with pytest.raises(ModelError, match="rising order"):
        open_gallery(gallery.path, ENCODER_SHA256)


def test_a_folder_that_is_no_gallery(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a gallery"):
        open_gallery(tmp_path, ENCODER_SHA256)
    with pytest.raises(ModelError, match="not a gallery"):
        open_gallery(tmp_path / "missing", ENCODER_SHA256)


def one_point(path: Path, origin: GalleryOrigin, lat_deg: float, force: bool = False) -> Gallery:
    return save_gallery(path, np.array([[lat_deg, 0.0]]), [np.ones((1, 1))], origin, 1.0, force=force)


def test_an_existing_gallery_stays_unless_forced(tmp_path: Path, origin: GalleryOrigin) -> None:
    one_point(tmp_path / "g", origin, 1.0)
    with pytest.raises(OutputError, match="--force"):
        one_point(tmp_path / "g", origin, 2.0)
    assert open_gallery(tmp_path / "g", ENCODER_SHA256).latlon_deg[0, 0] == 1.0
    one_point(tmp_path / "g", origin, 2.0, force=True)
    assert open_gallery(tmp_path / "g", ENCODER_SHA256).latlon_deg[0, 0] == 2.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]


def test_force_never_removes_something_else(tmp_path: Path, origin: GalleryOrigin) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name in ("holiday", "file"):
        with pytest.raises(OutputError, match="is not a gallery"):
            one_point(tmp_path / name, origin, 1.0, force=True)
    assert (tmp_path / "holiday" / "photo.jpg").exists()
    with pytest.raises(OutputError, match="create it first"):
        one_point(tmp_path / "no" / "such", origin, 1.0)


def test_an_encoder_that_fails_leaves_nothing_and_harms_nothing(tmp_path: Path, origin: GalleryOrigin) -> None:
    one_point(tmp_path / "g", origin, 1.0)

    def failing():  # noqa: ANN202
        yield np.ones((1, 1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_gallery(tmp_path / "g", np.zeros((2, 2)), failing(), origin, 1.0, force=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    assert open_gallery(tmp_path / "g", ENCODER_SHA256, verify=True).latlon_deg[0, 0] == 1.0


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.ones((3, 1))], "3 embeddings for 2"),
        ([np.ones((1, 1))], "1 embeddings for 2"),
        ([np.full((2, 1), np.nan)], "length nan"),
        ([np.full((2, 1), 0.5)], "unit vectors"),
        ([np.ones((1, 1)), np.eye(1, 2)], "width"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(
    tmp_path: Path, origin: GalleryOrigin, blocks: list[np.ndarray], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        save_gallery(tmp_path / "g", np.array([[1.0, 0.0], [2.0, 0.0]]), blocks, origin, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_removed_while_it_is_read_is_an_error_of_the_gallery(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_first(path: Path) -> str:
        path.unlink()
        return sha256_of(path)

    monkeypatch.setattr(store, "sha256_of", remove_first)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        open_gallery(gallery.path, ENCODER_SHA256, verify=True)
