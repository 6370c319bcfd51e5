"""A located track over the true one, on the imagery it was flown over: the picture in the README."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from training.flyover.imagery import imagery_folder
from vidtag_cli.geo.sphere import geodesic_circle


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
    for feature in json.loads(path.read_text("utf-8"))["features"]:
        if feature["geometry"] is not None:
            lon, lat = feature["geometry"]["coordinates"][:2]
            rows.append((feature["properties"]["media_time_s"], lat, lon, feature["properties"]["radius95_m"]))
    return np.array(rows)


def _read_truth(path: Path) -> np.ndarray:
    """Return (n, 3): media time, latitude, longitude."""
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([(float(r["media_time_s"]), float(r["lat"]), float(r["lon"])) for r in csv.DictReader(file)])
