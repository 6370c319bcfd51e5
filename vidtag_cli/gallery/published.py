"""Embeddings of places that came with a model: looked up where they are known, computed where they are not."""

from __future__ import annotations

import numpy as np

from vidtag_cli.gallery.build import Embed


def published_or_embedded(latlon_deg: np.ndarray, embedding: np.ndarray, embed: Embed) -> Embed:
    """Return an ``Embed`` that gives row n of ``embedding`` (G, E) for exactly the place n of ``latlon_deg`` (G, 2).

    Other positions, such as those that a gallery sees across the antimeridian, go to ``embed``.
    """
    row_of = {place: row for row, place in enumerate(map(tuple, latlon_deg.tolist()))}

    def looked_up(positions_deg: np.ndarray) -> np.ndarray:
        rows = np.array([row_of.get(place, -1) for place in map(tuple, positions_deg.tolist())], dtype=np.int64)
        found = np.array(embedding[rows], dtype=np.float32)
        unknown = np.flatnonzero(rows < 0)
        if unknown.size:
            found[unknown] = embed(positions_deg[unknown])
        return found

    return looked_up
