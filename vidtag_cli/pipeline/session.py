"""A model made ready to run: its bundle, its engines, a gallery embedded with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidtag_cli.bundle.load import ModelBundle, load_bundle
from vidtag_cli.bundle.registry import find_model
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.registry import open_engine
from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.build import cached_gallery
from vidtag_cli.gallery.contract import GalleryOrigin
from vidtag_cli.gallery.store import Gallery, open_gallery
from vidtag_cli.pipeline.calibration import UncertaintyRule, read_rule
from vidtag_cli.pipeline.domain import DomainModel, load_domain_model


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that stays open while many videos are located with one model."""

    bundle: ModelBundle
    engines: dict[str, Engine]
    gallery: Gallery
    domain: DomainModel | None
    rule: UncertaintyRule

    def run(self, graph: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the named outputs of one graph of the bundle."""
        return self.engines[graph].run(inputs)


def open_session(
    model: str | Path | None,
    *,
    gallery_path: Path | None = None,
    engine: str = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
    gallery_progress: Callable[[float, float | None], None] | None = None,
) -> Session:
    """Return a session; raises ModelError when the model, the gallery or the engine cannot be had as asked.

    Without ``gallery_path`` the bundle's own coordinates are used; their embeddings are computed once and kept in the
    user's cache under the hash of the location encoder.
    """
    bundle = load_bundle(find_model(model))
    if bundle.kind != "vidtag":
        raise ModelError(f"{bundle.path}: models of kind {bundle.kind!r} cannot be run by this version of vidtag")
    engines = {
        name: open_engine(graph, name=engine, device=device, threads=threads) for name, graph in bundle.graphs.items()
    }
    encoder = bundle.graphs["location_encoder"]
    if gallery_path is not None:
        gallery = open_gallery(gallery_path, encoder.sha256)
    else:
        origin = GalleryOrigin(f"default gallery of {bundle.name}", None, bundle.name, encoder.sha256)
        gallery = cached_gallery(
            bundle.gallery_latlon_deg(), location_embedder(engines["location_encoder"]), origin,
            wraps=bundle.location_encoder_kind == "sphere",
            cell_area_km2=bundle.calibration.parameters.get("default_cell_area_km2"), progress=gallery_progress,
        )  # fmt: skip
    return Session(bundle, engines, gallery, load_domain_model(bundle), read_rule(bundle))


def location_embedder(engine: Engine) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from positions (N, 2) float64 degrees to embeddings (N, E) float32 of an engine."""
    return lambda latlon_deg: engine.run({"latlon_deg": latlon_deg})["location_embedding"]
