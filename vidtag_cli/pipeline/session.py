"""A model made ready to run: its bundle, its engines, a gallery embedded with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidtag_cli.bundle.calibration_file import LoadedCalibration, read_calibration_file, with_calibration
from vidtag_cli.bundle.contract import GALLERY_EMBEDDING_FILE, Kind
from vidtag_cli.bundle.installed_models import find_model
from vidtag_cli.bundle.load import ModelBundle, load_bundle
from vidtag_cli.engines.base import Engine
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.engines.opening import check_engine, has_float64, open_engine
from vidtag_cli.errors import ModelError
from vidtag_cli.gallery.build import Embed, cached_gallery, published_or_embedded
from vidtag_cli.gallery.store import Gallery, GalleryOrigin, open_gallery
from vidtag_cli.pipeline.calibration import UncalibratedRule, UncertaintyRule, read_cell_area_km2, read_rule
from vidtag_cli.pipeline.domain import DomainModel, load_domain_model
from vidtag_cli.pipeline.elsewhere import Elsewhere, find_elsewhere
from vidtag_cli.pipeline.engine_trial import require_tried_engines
from vidtag_cli.pipeline.gate import Gate, load_gate
from vidtag_cli.pipeline.threads import ThreadPool, limit_threads

FRAME_ENCODERS: Mapping[Kind, str] = {"vidtag": "dual_encoder", "geoclip": "image_encoder"}
"""Kind of model to the graph that sees the pixels."""


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that stays open while many videos are located with one model.

    ``embed_places`` gives the embeddings of the gallery's points before they were rounded to be stored.
    ``searches_own_gallery`` says whether the gallery is the model's own, with which its calibration was measured;
    where it is not, ``elsewhere`` is the own one, of which the points outside the chosen places are searched too.
    ``thread_pools`` are the threads of the libraries beside the engines. ``calibration`` is the file in place of the
    calibration that the model came with, which then is that of ``bundle`` too; None without one.
    """

    bundle: ModelBundle
    engines: Mapping[str, Engine]
    gallery: Gallery
    embed_places: Embed
    domain: DomainModel | None
    rule: UncertaintyRule | UncalibratedRule
    searches_own_gallery: bool
    thread_pools: tuple[ThreadPool, ...] = ()
    gate: Gate | None = None
    calibration: LoadedCalibration | None = None
    elsewhere: Elsewhere | None = None

    @property
    def own_gallery(self) -> Gallery:
        """The model's own places, which frames are compared in whatever places are searched for them."""
        return self.gallery if self.elsewhere is None else self.elsewhere.gallery

    @property
    def step_s(self) -> float:
        """The time between two frames at the density the model was made for."""
        return 1.0 / self.bundle.sampling.frames_per_second

    def run(self, graph: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the named outputs of one graph of the bundle."""
        return self.engines[graph].run(inputs)

    def encode_frames(self, frames_rgb: np.ndarray) -> np.ndarray:
        """Return what the model's first graph makes of frames (N, S, S, 3) uint8.

        Features (N, D) for a model that goes on with temporal modules; for one without, the frame embeddings (N, E).
        """
        (encoded,) = self.run(FRAME_ENCODERS[self.bundle.kind], frames_rgb=frames_rgb).values()
        return encoded


def open_session(
    model: str | Path | None,
    *,
    gallery_path: Path | None = None,
    engine: str = "onnxruntime",
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    calibration: Path | None = None,
    observer: BuildObserver | None = None,
    allows_random_weights: bool = False,
) -> Session:
    """Return a session; raises ModelError when the model, the gallery or the engine cannot be had as asked.

    ``device`` is by default the engine's own, ``precision`` the bundle's; ``threads`` rules the engines on the CPU and,
    for the whole process, numpy and FAISS; by default all processors this process may use. ``observer`` hears about
    engines that are built at first use and how far the embedding of the gallery is. A model of random weights is
    refused unless ``allows_random_weights``. An engine that is new here is tried against the CPU first, and one that
    computes wrong is refused.

    Without ``gallery_path`` the bundle's own coordinates are used; their embeddings are those that came with them, or
    are computed once, and are kept in the user's cache under the hash of the location encoder. The hash of every file
    is checked: the evidence record names them. With ``gallery_path`` the bundle's own are opened too, see
    :mod:`vidtag_cli.pipeline.elsewhere`. ``calibration`` is a file that was made for this very model.
    """
    check_engine(engine)
    pools = limit_threads(threads)
    bundle, domain, loaded = _open_bundle(model, calibration)
    if bundle.contract.has_random_weights and not allows_random_weights:
        raise ModelError(
            f"{bundle.path}: the weights of this model are random, so no place that it names means anything: use a "
            "trained model, or --allow-random-weights to try how the program runs"
        )
    rule, gate = read_rule(bundle), load_gate(bundle)  # refused before engines are loaded and places embedded
    engines = {
        name: open_engine(graph, engine, device, threads, window_frames=bundle.window.frames, observer=observer)
        for name, graph in bundle.graphs_for(precision, has_float64=has_float64(engine)).items()
    }
    require_tried_engines(  # before places are embedded, which are kept
        bundle, engines, (FRAME_ENCODERS[bundle.kind], "location_encoder"), engine=engine, device=device,
        threads=threads, observer=observer or BuildObserver(),
    )  # fmt: skip
    embed = location_embedder(engines["location_encoder"])
    elsewhere = None
    if gallery_path is not None:
        gallery = open_gallery(gallery_path, bundle.graphs["location_encoder"].sha256, verify=True)
        own, _ = _default_gallery(bundle, embed, observer or BuildObserver())
        elsewhere = find_elsewhere(own, gallery, rule.radii if isinstance(rule, UncertaintyRule) else None)
    else:
        gallery, embed = _default_gallery(bundle, embed, observer or BuildObserver())
    is_own = gallery_path is None
    if isinstance(rule, UncertaintyRule) and not is_own:
        rule = rule.among_other_places()
    return Session(bundle, engines, gallery, embed, domain, rule, is_own, pools, gate, loaded, elsewhere)


def _open_bundle(
    model: str | Path | None, calibration: Path | None
) -> tuple[ModelBundle, DomainModel | None, LoadedCalibration | None]:
    """Return a bundle with its own calibration or that of a file, its domain, and the file."""
    bundle = load_bundle(find_model(model))
    domain = load_domain_model(bundle)  # a file does not bring one: what the model says of itself decides
    if calibration is None:
        return bundle, domain, None
    loaded = read_calibration_file(calibration)
    return with_calibration(bundle, loaded), domain, loaded


def location_embedder(engine: Engine) -> Embed:
    """Return the function from positions (N, 2) float64 degrees to embeddings (N, E) float32 of an engine."""
    return lambda latlon_deg: engine.run({"latlon_deg": latlon_deg})["location_embedding"]


def open_own_gallery(bundle: ModelBundle, threads: int | None, observer: BuildObserver | None = None) -> Gallery:
    """Return the gallery of a bundle's own places; on the CPU they are embedded unless the cache has them."""
    embed = location_embedder(open_engine(bundle.graphs_for()["location_encoder"], threads=threads))
    gallery, _ = _default_gallery(bundle, embed, observer or BuildObserver())
    return gallery


def _default_gallery(bundle: ModelBundle, embed: Embed, observer: BuildObserver) -> tuple[Gallery, Embed]:
    """Return the gallery of the bundle's own coordinates, and the function that embeds its points."""
    latlon_deg, published = bundle.gallery_latlon_deg(), bundle.gallery_embedding()
    if published is not None:
        embed = published_or_embedded(latlon_deg, published, embed)
    encoder_sha256 = bundle.graphs["location_encoder"].sha256
    gallery = cached_gallery(
        latlon_deg, embed, GalleryOrigin(f"default gallery of {bundle.name}", None, bundle.name, encoder_sha256),
        wraps=bundle.location_encoder_kind == "sphere",
        cell_area_km2=read_cell_area_km2(bundle),
        published_sha256=bundle.contract.files.get(GALLERY_EMBEDDING_FILE, ""),
        progress=observer.progress, say=observer.say,
    )  # fmt: skip
    return gallery, embed
