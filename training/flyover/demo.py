"""The demo: a held-out flight as a clip with its true track, and a picture of the track that was found."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import numpy as np

from training.config import TrainingConfig
from training.flyover.camera import render_clips
from training.flyover.flights import Flights, draw_flights
from training.flyover.imagery import imagery_folder, load_textures
from vidtag_cli.errors import InputError
from vidtag_cli.geo.sphere import geodesic_circle, interpolate_latlon, wrap_longitude_deg
from vidtag_cli.video.ffmpeg import find_ffmpeg

STREAM = 20
"""Random stream of the demo flight: no training or test flight uses it."""

BOX = (36.0, 6.0, 46.0, 20.0)
"""South, west, north, east of the start: the central Mediterranean, whose coasts a reader knows."""

SECONDS = 24
FILM_FPS = 12
SIZE_PX = 256
_CONSTANT_QUALITY = 25


def demo_flight(config: TrainingConfig) -> Flights:
    """Return the first flight that the seed gives over the Mediterranean, one position a second: chosen by place, not
    by error.
    """
    rng = np.random.default_rng((config.seed, STREAM))
    return draw_flights(config.flight_recipe(), 1, rng, BOX, frames=SECONDS + 1)


def film_positions(flight: Flights) -> Flights:
    """Return the flight at every frame of the film: great circles between the seconds, headings the short way."""
    steps = np.arange(SECONDS * FILM_FPS) / FILM_FPS
    second, fraction = steps.astype(int), steps % 1.0
    path, heading = flight.latlon_deg[0], flight.heading_deg[0]
    latlon = interpolate_latlon(path[second], path[second + 1], fraction)
    turn = wrap_longitude_deg(heading[second + 1] - heading[second])
    return Flights(latlon[None], (heading[second] + fraction * turn)[None], flight.footprint_km, flight.style)


def write_demo_clip(config: TrainingConfig, folder: Path) -> None:
    """Write ``flyover_demo.mp4`` (H.264) and ``flyover_demo.truth.csv`` (media time in seconds, latitude,
    longitude).
    """
    film = film_positions(demo_flight(config))
    folder.mkdir(parents=True, exist_ok=True)  # before a minute of rendering
    frames = render_clips(
        load_textures(), film, SIZE_PX, np.random.default_rng((config.seed, STREAM, 1)), jitter=False
    )[0]
    _encode(frames.numpy(), folder / "flyover_demo.mp4")
    with (folder / "flyover_demo.truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["media_time_s", "lat", "lon"])
        for index, (lat, lon) in enumerate(film.latlon_deg[0]):
            writer.writerow([f"{index / FILM_FPS:.6f}", f"{lat:.6f}", f"{lon:.6f}"])


def _encode(frames_rgb: np.ndarray, path: Path) -> None:
    """Encode frames (n, S, S, 3) uint8; one thread and no time stamps of now, so that the bytes repeat."""
    size = f"{frames_rgb.shape[2]}x{frames_rgb.shape[1]}"
    command = [
        str(find_ffmpeg().path), "-nostdin", "-loglevel", "error", "-y",
        "-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", size, "-framerate", str(FILM_FPS), "-i", "pipe:0",
        "-c:v", "libx264", "-preset", "slow", "-crf", str(_CONSTANT_QUALITY), "-pix_fmt", "yuv420p", "-threads", "1",
        "-g", str(FILM_FPS * 2), "-bitexact", "-movflags", "+faststart", f"file:{path}",
    ]  # fmt: skip
    subprocess.run(command, input=frames_rgb.tobytes(), check=True)


def draw_track(track_geojson: Path, truth_csv: Path, out: Path, margin_deg: float = 4.0) -> None:
    """Write a PNG with the true track, the estimates with their 95 % circles and a line from each to its truth.

    Tracks across the antimeridian are not drawn: the background is one flat map.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    estimates = _read_estimates(track_geojson)
    truth = _read_truth(truth_csv)
    true_at = np.stack([np.interp(estimates[:, 0], truth[:, 0], truth[:, column]) for column in (1, 2)], axis=1)
    positions = np.concatenate([truth[:, 1:3], estimates[:, 1:3]])
    south, west = positions.min(0) - margin_deg
    north, east = positions.max(0) + margin_deg
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(imagery_folder() / "bmng.jpg") as earth:
        scale = earth.width / 360.0
        box = ((west + 180) * scale, (90 - north) * scale, (east + 180) * scale, (90 - south) * scale)
        background = earth.crop(tuple(round(edge) for edge in box))
    figure, axes = pyplot.subplots(figsize=(8, 6), dpi=110)
    axes.imshow(background, extent=(west, east, south, north), aspect=1.0 / np.cos(np.deg2rad((south + north) / 2)))
    for index, (_, lat, lon, radius_m) in enumerate(estimates):
        ring = geodesic_circle((lat, lon), radius_m / 1000.0)
        ring = np.concatenate([ring, ring[:1]])
        axes.plot(
            ring[:, 1], ring[:, 0], color="#ffd166", lw=0.7, alpha=0.7, label="95 % circle" if index == 0 else None
        )
        axes.plot([lon, true_at[index, 1]], [lat, true_at[index, 0]], color="white", lw=0.6)
    axes.plot(truth[:, 2], truth[:, 1], color="#06d6a0", lw=2.0, label="true track")
    axes.plot(estimates[:, 2], estimates[:, 1], "o", color="#ef476f", ms=4, mec="white", mew=0.5, label="estimates")
    axes.set(xlim=(west, east), ylim=(south, north), xlabel="longitude", ylabel="latitude")
    axes.legend(loc="lower left", framealpha=0.9)
    figure.tight_layout()
    figure.savefig(out, metadata={"Software": None})


def _read_estimates(path: Path) -> np.ndarray:
    """Return (n, 4): media time, latitude, longitude, 95 % radius in metres of the located frames."""
    rows = []
    try:
        for feature in json.loads(path.read_text("utf-8"))["features"]:
            if feature["geometry"] is not None:
                lon, lat = feature["geometry"]["coordinates"][:2]
                rows.append((feature["properties"]["media_time_s"], lat, lon, feature["properties"]["radius95_m"]))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a track as 'vidtag demo' writes it in GeoJSON: {error!r}") from error
    if not rows:
        raise InputError(f"{path}: holds no located frame: there is nothing to draw")
    return np.array(rows)


def _read_truth(path: Path) -> np.ndarray:
    """Return (n, 3): media time, latitude, longitude."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(float(r["media_time_s"]), float(r["lat"]), float(r["lon"])) for r in csv.DictReader(file)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a CSV with numbers under media_time_s, lat and lon: {error!r}") from error
    if not rows:
        raise InputError(f"{path}: holds no position: there is nothing to draw")
    return np.array(rows)
