"""What the demo model reaches on held-out flights: each step of the program, by imagery and region."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from training.calibration.calibrate import known_frames, locate_clips, searched_places
from training.flyover.evaluate import REGIONS, FlightMetrics, measure
from training.flyover.features import FeatureStore
from training.flyover.imagery import STYLES
from training.model.vidtag import VidTag
from vidtag_cli.calibration.paths import PathStep, decode_paths
from vidtag_cli.gallery.store import Gallery

Results = Mapping[str, Mapping[str, FlightMetrics]]
"""Subset of flights -> step of the program -> metrics over all frames, also those on which the program abstains."""

_COLUMNS = ("step", "flights", "median km (95 % CI)", "< 25 km", "< 50 km", "< 100 km", "< 200 km", "DFD km (deg)",
            "MRD km (deg)")  # fmt: skip


def measure_steps(
    model: VidTag, stores: Mapping[str, FeatureStore], gallery: Gallery, path_scale: float, step: PathStep,
    place_radius_km: float,
) -> Results:  # fmt: skip
    """Return the metrics of Phase I, of GeoRefiner after it, and of the path through the places of Phase I."""
    results: dict[str, dict[str, FlightMetrics]] = {}
    for name in ("test", *REGIONS):
        store = stores[name]
        located = locate_clips(model, store, gallery)
        frames = known_frames(store, located, step.frame_interval_s)
        path_deg, _ = decode_paths(searched_places(model, gallery), frames, path_scale, step, place_radius_km)
        steps = {
            "tempgeo": located.phase_one_latlon_deg,
            "georefiner": located.latlon_deg,
            "path": path_deg.reshape(located.latlon_deg.shape),
        }
        subsets = {name: np.ones(len(store), bool)}
        if name == "test":
            subsets |= {style: store.style == index for index, style in enumerate(STYLES)}
        for subset, mask in subsets.items():
            part = FeatureStore(store.features[mask], store.latlon_deg[mask], store.style[mask])
            results[subset] = {step: measure(part, latlon[mask]) for step, latlon in steps.items()}
    return results


def results_markdown(results: Results) -> str:
    """Return one table for each subset."""
    lines: list[str] = []
    for subset, steps in results.items():
        lines += [f"## {subset}", "", _row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
        lines += [_row([step, *_cells(metrics)]) for step, metrics in steps.items()]
        lines.append("")
    return "\n".join(lines)


def results_metrics(results: Results) -> dict[str, float]:
    """Return the metrics of all test flights under the names that a bundle keeps."""
    metrics = {"test_flights": float(results["test"]["georefiner"].clips)}
    for step, prefix in (("georefiner", "test"), ("path", "test_path")):
        metrics_of_step = results["test"][step]
        metrics[f"{prefix}_median_km"] = metrics_of_step.median_km
        metrics |= {f"{prefix}_share_within_{limit}_km": share for limit, share in metrics_of_step.share_within.items()}
        metrics |= {
            f"{prefix}_mean_dfd_km": metrics_of_step.mean_dfd_km,
            f"{prefix}_mean_mrd_km": metrics_of_step.mean_mrd_km,
        }
    return metrics


def _cells(metrics: FlightMetrics) -> list[str]:
    low, high = metrics.median_ci95_km
    return [
        str(metrics.clips),
        f"{metrics.median_km:.1f} ({low:.1f}-{high:.1f})",
        *(f"{100.0 * share:.1f} %" for share in metrics.share_within.values()),
        f"{metrics.mean_dfd_km:.0f} ({metrics.mean_dfd_deg:.2f})",
        f"{metrics.mean_mrd_km:.0f} ({metrics.mean_mrd_deg:.2f})",
    ]


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
