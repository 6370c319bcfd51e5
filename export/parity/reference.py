"""The torch side of a comparison: what the graphs give, and where on the ground an embedding points."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from export.graphs.graphs import reference_graphs
from training.model.location_encoder import LocationEncoder
from training.model.retrieval import embed_gallery
from training.model.vidtag import VidTag
from vidtag_cli.bundle.contract import GRAPH_TENSORS
from vidtag_cli.geo.sphere import EARTH_RADIUS_KM, haversine_km, latlon_from_unit_vector, unit_vector

NEIGHBOUR_PLACES = 9
"""How many gallery points a continuous position is averaged over: the best one and those that touch its cell."""

_STEP_M = 5.0
"""Of the derivative: far below the kilometres in which the finest branch (sigma 256) turns its phase by a radian."""

_MAX_LAT_DEG = 89.9
"""At a pole east has no direction; the derivative is taken this near to it instead."""

EngineRun = Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Graph name and inputs to outputs, as :meth:`vidtag_cli.engines.base.Engine.run` gives them."""

MAX_PLACES = 2000

_SHARES = (50.0, 95.0, 99.0)


@dataclass(frozen=True, slots=True)
class PositionShift:
    """How far each predicted position moves (N,), and how many frames have another best place."""

    moved_m: np.ndarray
    best_places_changed: int


@dataclass(frozen=True, slots=True)
class ParityReference:
    """A model as it was trained, with a gallery to predict positions in; made by :func:`parity_reference`."""

    graphs: Mapping[str, nn.Module]
    location_encoder: LocationEncoder
    logit_scale: float
    gallery_latlon_deg: np.ndarray
    gallery_embedding: np.ndarray

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the named outputs of a graph in torch, float32."""
        wanted_inputs, wanted_outputs = GRAPH_TENSORS[graph]
        with torch.no_grad():
            outputs = self.graphs[graph](*(torch.from_numpy(inputs[tensor.name]) for tensor in wanted_inputs))
        values = outputs if isinstance(outputs, tuple) else (outputs,)
        return {tensor.name: value.numpy() for tensor, value in zip(wanted_outputs, values, strict=True)}

    def shift(
        self,
        graph: str,
        inputs: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray],
        actual: Mapping[str, np.ndarray],
    ) -> PositionShift:
        """Return how far predictions move when an engine's outputs take the place of torch's.

        Location encoder: the step on the ground that would change the embedding so. Frame encoder: its features go on
        through torch's TempGeo as one clip. Others: the continuous position of their embedding, see :meth:`positions`.
        """
        if graph == "location_encoder":
            change = actual["location_embedding"] - expected["location_embedding"]
            return PositionShift(equivalent_step_m(self.location_encoder, inputs["latlon_deg"], change), 0)
        if graph == "dual_encoder":
            pair = [
                self.run("tempgeo", {"frame_features": outputs["frame_features"][None]})["frame_embedding"]
                for outputs in (expected, actual)
            ]
        else:
            name = "frame_embedding" if graph == "tempgeo" else "refined_embedding"
            pair = [expected[name], actual[name]]
        return self._shift_of_embeddings(*(embedding.reshape(-1, embedding.shape[-1]) for embedding in pair))

    def best_places(self, embedding: np.ndarray) -> np.ndarray:
        """Return the index (N,) of the gallery point with the largest cosine to embeddings (N, E)."""
        return (embedding @ self.gallery_embedding.T).argmax(1)

    def positions(self, embedding: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Return continuous positions (N, 2) in degrees of embeddings (N, E), near the gallery points ``best`` (N,).

        The centroid of the neighbouring gallery points, weighted by the softmax of their cosine times the logit scale:
        where the best point alone would not move at all or jump by a cell, this shows the smallest change.
        """
        vectors = unit_vector(self.gallery_latlon_deg)
        count = min(NEIGHBOUR_PLACES, len(vectors))
        neighbours = np.stack(
            [np.argpartition(-(vectors @ vectors[index]), count - 1)[:count] for index in best]
        )  # (N, K)
        near = self.gallery_embedding[neighbours].astype(np.float64)  # (N, K, E)
        cosines = np.einsum("ne,nke->nk", embedding.astype(np.float64), near)
        logits = self.logit_scale * cosines
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return latlon_from_unit_vector((weights[..., None] * vectors[neighbours]).sum(1))

    def _shift_of_embeddings(self, expected: np.ndarray, actual: np.ndarray) -> PositionShift:
        best = self.best_places(expected)
        # The same neighbours for both: a tie between two cells is counted, and is no movement by a cell.
        moved_km = haversine_km(self.positions(expected, best), self.positions(actual, best))
        return PositionShift(moved_km * 1000.0, int((best != self.best_places(actual)).sum()))


def parity_reference(model: VidTag, gallery_latlon_deg: np.ndarray) -> ParityReference:
    """Return the reference of a model, put into evaluation mode; its gallery is embedded once, in torch."""
    model.eval()
    embedding = embed_gallery(model, gallery_latlon_deg).numpy()
    scale = float(model.logit_scale().detach())
    return ParityReference(reference_graphs(model), model.location_encoder, scale, gallery_latlon_deg, embedding)


def equivalent_step_m(encoder: LocationEncoder, latlon_deg: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return the length (N,) in metres of the step that changes embeddings of positions (N, 2) by ``change`` (N, E).

    The least-squares step north and east under the encoder's derivative, which is taken in float64: the error of
    float32 would drown a difference over metres.
    """
    exact = copy.deepcopy(encoder).double()
    lat, lon = np.clip(latlon_deg[:, 0], -_MAX_LAT_DEG, _MAX_LAT_DEG), latlon_deg[:, 1]
    north_deg = np.full_like(lat, np.rad2deg(_STEP_M / (EARTH_RADIUS_KM * 1000.0)))
    east_deg = north_deg / np.cos(np.deg2rad(lat))
    columns = []
    for lat_step, lon_step in ((north_deg, 0.0 * lon), (0.0 * lat, east_deg)):
        # Longitudes run on past 180: wrapped, the seam of an encoder would pass for a steep one.
        ahead, behind = (np.stack([lat + side * lat_step, lon + side * lon_step], -1) for side in (1.0, -1.0))
        with torch.no_grad():
            difference = exact(torch.from_numpy(ahead)) - exact(torch.from_numpy(behind))
        columns.append(difference.numpy() / (2.0 * _STEP_M))
    jacobian = np.stack(columns, axis=-1)  # (N, E, 2) per metre
    step_m = np.linalg.pinv(jacobian) @ change.astype(np.float64)[..., None]  # (N, 2, 1)
    return np.linalg.norm(step_m[..., 0], axis=-1)


@dataclass(frozen=True, slots=True)
class PlaceShift:
    """Metres by which the places of a gallery move under the error of the whole chain of graphs.

    For each of ``places`` gallery points: its own embedding, which is where a perfect frame would lie, is changed by
    the error that the chain made on one of ``frames`` frames; the movement is the step on the ground that changes the
    embedding so. ``cosine_min`` compares the chain's embeddings. ``best_place_changed`` is the share of points whose
    nearest gallery point became another one.
    """

    frames: int
    places: int
    cosine_min: float
    p50_m: float
    p95_m: float
    p99_m: float
    max_m: float
    best_place_changed: float


def chain_embeddings(reference: ParityReference, run: EngineRun, features: np.ndarray) -> np.ndarray:
    """Return the refined embeddings (T, E) of frame features (T, D) as one clip, through the other graphs of a runner.

    The positions between the phases are those of the runner's own search in the reference's gallery.
    """
    attended = run("tempgeo", {"frame_features": features[None]})
    best = reference.best_places(attended["frame_embedding"][0])
    queries = {
        "refined_features": attended["refined_features"],
        "location_embedding": reference.gallery_embedding[best][None],
    }
    return run("georefiner", queries)["refined_embedding"][0]


def place_shift(reference: ParityReference, expected: np.ndarray, actual: np.ndarray) -> PlaceShift:
    """Return the movement of up to 2,000 gallery points under the difference of embeddings (T, E)."""
    gallery = reference.gallery_embedding
    sample = np.linspace(0, len(gallery) - 1, min(MAX_PLACES, len(gallery))).astype(np.int64)
    error = (actual.astype(np.float64) - expected)[np.arange(len(sample)) % len(expected)]
    exact = gallery[sample].astype(np.float64)
    moved = exact + error
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    step_m = equivalent_step_m(reference.location_encoder, reference.gallery_latlon_deg[sample], moved - exact)
    best = reference.best_places(moved.astype(np.float32))
    shares = np.percentile(step_m, _SHARES)
    return PlaceShift(
        frames=len(expected),
        places=len(sample),
        cosine_min=float(_cosines(expected, actual).min()),
        p50_m=float(shares[0]),
        p95_m=float(shares[1]),
        p99_m=float(shares[2]),
        max_m=float(step_m.max()),
        best_place_changed=float((best != sample).mean()),
    )


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
