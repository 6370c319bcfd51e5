"""What a model answers on footage unlike that of training, a row for each kind: shares, coverage, intervals by clip."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from training.config import FlightConfig, TrainingConfig
from training.flyover.flights import Flights, draw_flights, near_land
from training.flyover.imagery import imagery_folder, load_textures
from training.shift.bundle_copy import prepare_copy, write_copy
from training.shift.changes import KINDS, Change, apply_change
from training.shift.films import film_changed, film_flights
from training.shift.locate_film import locate_film
from vidtag_cli.bundle.contract import ChangeCoverage
from vidtag_cli.calibration.statement import with_changes
from vidtag_cli.errors import UsageError
from vidtag_cli.evaluation.bootstrap import ClipResampling, Estimate, estimate_ratio
from vidtag_cli.files import replace_file
from vidtag_cli.geo.sphere import haversine_km
from vidtag_cli.pipeline.session import Session, open_session
from vidtag_cli.track import Track

_log = logging.getLogger("training")

TEST_STREAM = 40
_FLIGHTS_AT_ONCE = 25
_OCEAN_KM = 800.0

Draw = Callable[[FlightConfig, int, np.random.Generator], Flights]


def _drawn(over_land: bool = True, **changes: tuple[float, float] | float) -> Draw:
    """Return how flights are drawn from the preset's recipe with some of its fields changed."""

    def draw(recipe: FlightConfig, count: int, rng: np.random.Generator) -> Flights:
        return draw_flights(dataclasses.replace(recipe, **changes), count, rng, over_land=over_land)  # type: ignore[arg-type]

    return draw


_as_trained = _drawn()


def _over_the_sea(recipe: FlightConfig, count: int, rng: np.random.Generator) -> Flights:
    """Return flights that never come within 800 km of land in any of eight directions: they start at any place."""
    kept: list[Flights] = []
    while sum(map(len, kept)) < count:
        flights = draw_flights(recipe, 4 * count, rng, over_land=False)
        at_sea = ~near_land(flights.latlon_deg.reshape(-1, 2), _OCEAN_KM).reshape(flights.heading_deg.shape).any(1)
        kept.append(flights.select(np.flatnonzero(at_sea)))
    return Flights.join(kept).select(np.arange(count))


@dataclass(frozen=True, slots=True)
class Row:
    """One row: how flights are drawn, what is done to the film, whether they are seen in a picture never trained on."""

    draw: Draw = _as_trained
    change: Change = Change()
    other_picture: bool = False


def table_rows() -> Mapping[str, Row]:
    """Return the rows of the table, by name: every kind of change at its typical strength, then other cameras."""
    changed = {name: Row(change=kind.make(kind.typical)) for name, kind in KINDS.items()}
    footprints = {f"footprint_{km}_km": Row(_drawn(footprint_km=(km, km))) for km in (300, 450, 900, 1300)}
    spacings = {f"spacing_{km}_km": Row(_drawn(step_km=(km, km))) for km in (1, 5, 100)}
    cameras = {
        "hovering": Row(_drawn(step_km=(1e-3, 1e-3), turn_deg_per_frame=0.0)),
        "poles": Row(_drawn(over_land=False, latitude_deg=(75.0, 90.0))),
        "sea": Row(_over_the_sea),
        "other_picture": Row(other_picture=True),
    }
    return changed | footprints | spacings | cameras


@dataclass(frozen=True, slots=True)
class RowResult:
    """Of the frames of one row: which share was located, how many of these lay inside their circles, how far off they
    were; ``frames`` says out of how many.
    """

    frames: int
    located: Estimate
    coverage95: Estimate
    coverage50: Estimate
    median_km: float


def measure(track: Track, truth_latlon_deg: np.ndarray, seed: int) -> RowResult:
    """Return the result of a film's track against the true positions (B, T, 2); intervals are by clip."""
    clips, frames, _ = truth_latlon_deg.shape
    nan = float("nan")
    values = np.array(
        [
            (point.lat_deg, point.lon_deg, point.radius50_m, point.radius95_m) if point.status == "ok" else (nan,) * 4
            for point in track.points
        ],
        np.float64,
    ).reshape(clips, frames, 4)
    is_located = np.isfinite(values[..., 0])
    error_km = np.full((clips, frames), np.inf)
    error_km[is_located] = haversine_km(values[is_located][:, :2], truth_latlon_deg[is_located])
    resampling = ClipResampling(clips, seed)
    counts = is_located.sum(1).astype(np.float64)
    inside50, inside95 = (
        (is_located & (1000.0 * error_km <= values[..., column])).sum(1).astype(np.float64) for column in (2, 3)
    )
    return RowResult(
        clips * frames,
        estimate_ratio(counts, np.full(clips, float(frames)), resampling),
        estimate_ratio(inside95, counts, resampling),
        estimate_ratio(inside50, counts, resampling),
        float(np.median(error_km[is_located])) if is_located.any() else nan,
    )


def write_table(
    model: str, out: Path, config: TrainingConfig, flights: int, seed: int, names: list[str], results: Path,
    bundle: Path | None = None, *, force: bool = False,
) -> str:  # fmt: skip
    """Write the table of some rows, or of all, to ``out`` and return it; with ``bundle`` (NAME.vidtag) also the model
    with what was measured. Raises UsageError for a row there is not.

    Every row is kept in the folder ``results`` under its name, the hash of the bundle, the number of flights and the
    seed; a later call goes on there. Its random numbers are its own.
    """
    rows = table_rows()
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise UsageError(f"--rows {unknown[0]}: there is no such row; there are {', '.join(rows)}")
    if bundle is not None:
        prepare_copy(bundle, force)
    results.mkdir(parents=True, exist_ok=True)
    session = open_session(model)
    films = _Films(session, config, flights, seed)
    measured = {}
    for name in names or rows:
        path = results / f"{name}.{session.bundle.sha256[:16]}.{flights}.{seed}.json"
        if not path.is_file():
            single, path_result = locate_row(session, films, name, seed)
            replace_file(path, json.dumps([dataclasses.asdict(single), dataclasses.asdict(path_result)]).encode())
        measured[name] = _read_row(path)
        _log.info("%s: %s", name, _cells(measured[name][1]))
    text = _markdown(measured, session, flights, seed)
    replace_file(out, text.encode())
    if bundle is not None:
        _write_measured(session, bundle, measured, flights)
    return text


def _read_row(path: Path) -> tuple[RowResult, RowResult]:
    single, on_path = json.loads(path.read_text(encoding="utf-8"))
    return _row_result(single), _row_result(on_path)


def _row_result(document: Mapping[str, Any]) -> RowResult:
    shares = {name: Estimate(**document[name]) for name in ("located", "coverage95", "coverage50")}
    return RowResult(frames=document["frames"], median_km=document["median_km"], **shares)


def _write_measured(
    session: Session, bundle: Path, measured: Mapping[str, tuple[RowResult, RowResult]], flights: int
) -> None:
    contract = session.bundle.contract
    changes = [
        coverage for name, (single, path) in measured.items() if name != "none"
        for coverage in (_coverage(name, "none", single, flights), _coverage(name, "viterbi", path, flights))
    ]  # fmt: skip
    calibration = with_changes(contract.calibration, changes)
    write_copy(session.bundle, bundle, dataclasses.replace(contract, calibration=calibration))


def _coverage(name: str, smoothing: Literal["none", "viterbi"], result: RowResult, flights: int) -> ChangeCoverage:
    change, inside = name.replace("_", " "), result.coverage95
    if np.isnan(inside.value):
        return ChangeCoverage(change, smoothing, flights, result.frames, result.located.value)
    return ChangeCoverage(
        change, smoothing, flights, result.frames, result.located.value, inside.value, inside.low, inside.high
    )


class _Films:
    """The films of rows: all changes of the picture are made to the same flights, which are filmed once."""

    def __init__(self, session: Session, config: TrainingConfig, flights: int, seed: int) -> None:
        self._size_px = session.bundle.preprocess.frame_size_px
        self._recipe, self._seed, self._count = config.flight_recipe(), (config.seed, TEST_STREAM, seed), flights
        self._textures = load_textures()
        self._rows = table_rows()
        self._plain: list[np.ndarray] = []

    def __call__(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the frames (B, T, S, S, 3) uint8 of a row and the true positions (B, T, 2)."""
        row, same = self._rows[name], Row()
        is_plain = dataclasses.replace(row, change=same.change) == same and row.change.footprint == 1.0
        rng = np.random.default_rng(self._seed if is_plain else (*self._seed, list(self._rows).index(name)))
        flights = row.draw(self._recipe, self._count, rng)
        seen = other_picture(self._textures) if row.other_picture else self._textures
        parts = [
            flights.select(np.arange(begin, min(self._count, begin + _FLIGHTS_AT_ONCE)))
            for begin in range(0, self._count, _FLIGHTS_AT_ONCE)
        ]
        if not is_plain:
            frames = [film_changed(seen, part, row.change, self._size_px, rng) for part in parts]
        else:
            self._plain = self._plain or [film_flights(seen, part, rng) for part in parts]
            frames = [apply_change(film, row.change, self._size_px) for film in self._plain]
        return np.concatenate(frames), flights.latlon_deg


def locate_row(session: Session, films: _Films, name: str, seed: int) -> tuple[RowResult, RowResult]:
    """Return the results, frame by frame and on a path, of new flights of a row."""
    frames, truth_latlon_deg = films(name)
    single, path = locate_film(session, frames)
    return measure(single, truth_latlon_deg, seed), measure(path, truth_latlon_deg, seed)


def other_picture(textures: Tensor) -> Tensor:
    """Return, in the form of the textures, a picture of the Earth that no model was trained on: ETOPO1's colours."""
    from PIL import Image
    from torch.nn import functional

    height, padded = textures.shape[-2:]
    margin = (padded - 2 * height) // 2
    Image.MAX_IMAGE_PIXELS = None  # known and wanted, as in load_textures
    with Image.open(imagery_folder() / "etopo1.jpg") as picture:
        pixels = np.asarray(picture.convert("RGB").resize((2 * height, height), Image.Resampling.BOX))
    texture = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()
    texture = functional.pad(texture[None], (margin, margin, 0, 0), mode="circular")
    return texture.repeat(len(textures), 1, 1, 1).to(textures.device)


def _cells(result: RowResult) -> str:
    return " | ".join(
        (
            _share(result.located), _share(result.coverage95), _share(result.coverage50),
            "-" if np.isnan(result.median_km) else f"{result.median_km:.0f}",
        )
    )  # fmt: skip


def _share(estimate: Estimate) -> str:
    if np.isnan(estimate.value):
        return "-"
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.0f}-{100 * estimate.high:.0f})"


def _markdown(results: Mapping[str, tuple[RowResult, RowResult]], session: Session, flights: int, seed: int) -> str:
    head = (
        f"Model {session.bundle.name} {session.bundle.contract.version}, {flights} new flights of 16 frames a row, "
        f"seed {seed}; (95 % intervals) from bootstrap draws of whole flights. Located: share of all frames. Inside: "
        "of the located, inside their 95 % and 50 % circles. Median: error of the located in km.\n"
    )
    lines = [head]
    for mode, title in ((1, "On a path (`--smooth viterbi`)"), (0, "Frame by frame")):
        lines += [
            f"\n## {title}\n",
            "| row | located | inside 95 % | inside 50 % | median km |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [f"| {name} | {_cells(result[mode])} |" for name, result in results.items()]
    return "\n".join(lines) + "\n"
