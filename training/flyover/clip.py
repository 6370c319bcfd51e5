"""The demo clip: a film of one held-out flight, and the table of where the camera truly was."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import numpy as np

from training.config import TrainingConfig
from training.flyover.flights import Flights, draw_flights
from training.flyover.imagery import load_textures
from training.flyover.scene import render_clips
from vidtag_cli.geo.sphere import interpolate_latlon, wrap_longitude_deg
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
    frames = render_clips(
        load_textures(), film, SIZE_PX, np.random.default_rng((config.seed, STREAM, 1)), jitter=False
    )[0]
    folder.mkdir(parents=True, exist_ok=True)
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
