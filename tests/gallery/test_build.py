"""Building: duplicates on the sphere, both longitudes at the seam, areas, the cache."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidtag_cli.errors import ModelError, OutputError
from vidtag_cli.files import exclusive_lock
from vidtag_cli.gallery import build as build_module
from vidtag_cli.gallery.build import (
    cached_gallery,
    canonical_latlon,
    embed_coordinates,
    first_of_duplicates,
    near_antimeridian,
    other_longitude,
    regular_spacing_km,
    shared_cell_area_km2,
)
from vidtag_cli.gallery.store import Gallery, GalleryOrigin
from vidtag_cli.geo.grid import equal_area_grid
from vidtag_cli.geo.land import is_land
from vidtag_cli.geo.sphere import haversine_km

Embed = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ((1.0, 2.0), (1.0, 2.0), True),
        ((1.0, 2.0), (1.0 + 4e-7, 2.0), True),
        ((1.0, 2.0), (1.000002, 2.0), False),
        ((5.0, 180.0), (5.0, -180.0), True),
        ((5.0, 179.9999999), (5.0, -180.0), True),
        ((5.0, 179.9999), (5.0, -179.9999), False),
        ((90.0, 12.0), (90.0, -75.0), True),
        ((-90.0, 12.0), (-90.0, 0.0), True),
        ((90.0, 12.0), (-90.0, 12.0), False),
        ((45.0, 0.0), (0.0, 1e-6), False),
    ],
)
def test_duplicates_are_judged_on_the_sphere(a: tuple[float, float], b: tuple[float, float], same: bool) -> None:
    assert first_of_duplicates(np.array([a, b])).tolist() == ([0] if same else [0, 1])


def test_what_is_in_range_stays_as_it_is_to_the_last_bit() -> None:
    positions = np.random.default_rng(4).uniform([-89.0, -180.0], [89.0, 180.0], (1000, 2))
    np.testing.assert_array_equal(canonical_latlon(positions), positions)
    assert canonical_latlon(np.array([[1.0, 180.0], [2.0, 190.0], [3.0, -540.0]])).tolist() == [
        [1.0, -180.0],
        [2.0, -170.0],
        [3.0, -180.0],
    ]


def test_the_first_of_duplicates_stays_in_order() -> None:
    positions = np.array([[3.0, 3.0], [1.0, 1.0], [3.0, 3.0], [2.0, 2.0], [1.0, 1.0]])
    assert first_of_duplicates(positions).tolist() == [0, 1, 3]


@settings(deadline=None)
@given(st.tuples(st.floats(-89.0, 89.0), st.floats(-180.0, 180.0, exclude_max=True)))
def test_the_other_longitude_is_the_same_place_across_180(position: tuple[float, float]) -> None:
    here = np.array([position])
    there = other_longitude(here)
    assert haversine_km(here, there)[0] < 1e-6
    assert abs(there[0, 1]) >= 180.0
    assert np.sign(there[0, 1]) == (-1.0 if here[0, 1] >= 0.0 else 1.0)


def test_the_margin_at_the_seam_is_in_kilometres() -> None:
    positions = np.array([[0.0, 179.2], [0.0, 179.0], [70.0, 177.5], [70.0, -177.5], [70.0, 177.0], [90.0, 0.0]])
    assert near_antimeridian(positions).tolist() == [0, 2, 3, 5]


def test_points_at_the_seam_are_embedded_under_both_longitudes(
    build: Callable[..., Gallery], embed_plane: Embed
) -> None:
    positions = np.array([[10.0, 20.0], [-16.8, 179.95], [-16.9, -179.95], [-16.8, 179.95], [0.0, 0.0]])
    gallery = build(positions, embed_plane, wraps=False)
    assert gallery.points == 4
    assert gallery.alias_of.tolist() == [1, 2]
    expected = embed_plane(np.array([[-16.8, 179.95 - 360.0], [-16.9, 360.0 - 179.95]]))
    np.testing.assert_array_equal(gallery.embeddings[4:], expected.astype(np.float16))


def test_an_encoder_without_seam_needs_no_second_longitude(build: Callable[..., Gallery], embed_sphere: Embed) -> None:
    gallery = build(np.array([[-16.8, 179.95], [90.0, 0.0]]), embed_sphere, wraps=True)
    assert gallery.alias_of.size == 0
    assert len(gallery.embeddings) == gallery.points == 2


def test_batches_make_no_difference_and_progress_reaches_the_end(embed_plane: Embed) -> None:
    positions = equal_area_grid(800.0)
    seen: list[tuple[int, int]] = []
    batched = embed_coordinates(positions, embed_plane, 100, lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(batched, embed_plane(positions), atol=1e-6)
    assert seen[-1] == (len(positions), len(positions))
    assert len(seen) == -(-len(positions) // 100)


def test_nothing_to_embed_and_lost_rows_are_errors(build: Callable[..., Gallery]) -> None:
    with pytest.raises(ModelError, match="no position"):
        build(np.zeros((0, 2)), lambda p: p, wraps=True)
    with pytest.raises(ModelError, match="1 embeddings for 2 positions"):
        build(np.array([[1.0, 1.0], [2.0, 2.0]]), lambda p: np.ones((1, 1)), wraps=True)


def test_the_spacing_of_an_even_grid_is_recognised_and_clusters_are_not() -> None:
    grid = equal_area_grid(150.0, -60.0, -180.0, 75.0, 180.0)
    assert regular_spacing_km(grid) == pytest.approx(150.0, rel=0.05)
    assert regular_spacing_km(grid[is_land(grid)]) == pytest.approx(150.0, rel=0.05)
    rng = np.random.default_rng(0)
    clusters = np.repeat(rng.uniform(-50.0, 50.0, (20, 2)), 50, axis=0) + rng.normal(scale=0.05, size=(1000, 2))
    assert regular_spacing_km(clusters) is None
    assert regular_spacing_km(np.zeros((1, 2))) is None


def test_dense_points_share_their_cell() -> None:
    street = np.stack([np.linspace(48.8500, 48.8510, 99), np.full(99, 2.35)], axis=-1)
    positions = np.concatenate([street, [[-16.8, 179.99], [90.0, 0.0]]])
    areas = shared_cell_area_km2(positions, cell_km=5.0)
    assert areas[:99].sum() in (pytest.approx(25.0), pytest.approx(50.0))  # one cell, or two if a border runs through
    assert areas[99:].tolist() == [25.0, 25.0]


def test_areas_follow_the_points_that_stay(build: Callable[..., Gallery], embed_sphere: Embed) -> None:
    positions = np.array([[1.0, 1.0], [1.0, 1.0], [9.0, 9.0]])
    gallery = build(positions, embed_sphere, wraps=True, cell_area_km2=np.array([5.0, 6.0, 7.0]))
    np.testing.assert_array_equal(gallery.cell_area_km2, [5.0, 7.0])
    np.testing.assert_allclose(gallery.log_cell_area(), np.log([5.0, 7.0]))


def test_the_cache_embeds_once_and_knows_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: GalleryOrigin, embed_sphere: Embed
) -> None:
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path))
    calls: list[int] = []

    def counted(latlon_deg: np.ndarray) -> np.ndarray:
        calls.append(len(latlon_deg))
        return embed_sphere(latlon_deg)

    grid = equal_area_grid(2000.0)
    first = cached_gallery(grid, counted, origin, wraps=True)
    again = cached_gallery(grid, counted, origin, wraps=True)
    assert first.path == again.path
    assert calls == [len(grid)]
    cached_gallery(grid[1:], counted, origin, wraps=True)
    cached_gallery(grid, counted, GalleryOrigin("a test", None, "toy", "cd" * 32), wraps=True)
    cached_gallery(grid, counted, origin, wraps=True, cell_area_km2=7.0)
    assert len(calls) == 4


def test_a_cached_gallery_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: GalleryOrigin, embed_sphere: Embed
) -> None:
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path))
    grid = equal_area_grid(2000.0)
    cached = cached_gallery(grid, embed_sphere, origin, wraps=True)
    changed = np.array(cached.embeddings)
    changed[0] = changed[1]
    np.save(cached.path / "embeddings.npy", changed)
    with pytest.raises(ModelError, match=r"embeddings\.npy is not the file .* remove that folder"):
        cached_gallery(grid, embed_sphere, origin, wraps=True)


def test_a_cache_that_cannot_be_made_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: GalleryOrigin, embed_sphere: Embed
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="XDG_CACHE_HOME"):
        cached_gallery(equal_area_grid(2000.0), embed_sphere, origin, wraps=True)


def test_the_first_use_says_what_takes_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: GalleryOrigin, embed_sphere: Embed
) -> None:
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path))
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(build_module.time, "monotonic", lambda: next(clock))
    grid = equal_area_grid(200.0)
    lines: list[str] = []
    shown: list[tuple[int, int]] = []
    options = {"wraps": True, "progress": lambda *share: shown.append(share), "say": lines.append}
    cached_gallery(grid, embed_sphere, origin, **options)
    # The second block of 4,096 ends after 4 s, at which time the estimate is told, and told once.
    left_s = 4.0 * (len(grid) - 8192) / 8192
    assert lines == [
        f"toy: embedding its {len(grid):,} places, which is done once and kept in the cache",
        f"toy: about {left_s:.0f} s left",
    ]
    assert shown[-1] == (len(grid), len(grid)) and len(shown) > 2
    cached_gallery(grid, embed_sphere, origin, **options)
    assert len(lines) == 2


def test_a_second_process_waits_for_the_first_and_embeds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: GalleryOrigin, embed_sphere: Embed
) -> None:
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path))
    grid = equal_area_grid(2000.0)
    path = cached_gallery(grid, embed_sphere, origin, wraps=True).path
    path.rename(tmp_path / "aside")
    lines: list[str] = []
    lock = exclusive_lock(path.parent / f".{path.name}.lock")
    lock.__enter__()

    def the_first_ends(line: str) -> None:
        lines.append(line)
        (tmp_path / "aside").rename(path)
        lock.__exit__(None, None, None)

    def embed_nothing(latlon_deg: np.ndarray) -> np.ndarray:
        raise AssertionError("embedded again")

    assert cached_gallery(grid, embed_nothing, origin, wraps=True, say=the_first_ends).points == len(grid)
    assert lines == ["toy: another vidtag is embedding the places of this model: waiting for it"]


def test_without_locks_the_places_are_embedded_all_the_same_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: GalleryOrigin, embed_sphere: Embed
) -> None:
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path))

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(build_module, "exclusive_lock", no_locks)
    lines: list[str] = []
    cached_gallery(equal_area_grid(2000.0), embed_sphere, origin, wraps=True, say=lines.append)
    assert "cannot be locked (No locks available)" in lines[0] and "embedding its" in lines[1]


@pytest.mark.parametrize("area", [0.0, -1.0, np.nan, np.inf, 6e8, 5e-324])
def test_an_area_that_is_none_is_refused_before_hours_of_embedding(build, embed_sphere: Embed, area: float) -> None:
    def embed_nothing(latlon_deg: np.ndarray) -> np.ndarray:
        raise AssertionError("embedded")

    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    for areas in (area, np.array([1.0, area])):
        with pytest.raises(ModelError, match="an area is not between"):
            build(points, embed_nothing, wraps=True, cell_area_km2=areas)


def test_points_of_one_cell_share_its_area_and_no_others() -> None:
    """On the equator a cell of 5 km is 0.04497 degrees wide, counted from -180, and as high, from -90."""
    in_one = [[0.005, -179.99], [0.008, -179.96]]
    others = [[0.005, -179.94], [0.05, -179.99], [0.005, 100.0], [-0.05, -179.99]]
    area_km2 = shared_cell_area_km2(np.array(in_one + others))
    np.testing.assert_allclose(area_km2, [12.5, 12.5, 25.0, 25.0, 25.0, 25.0])
