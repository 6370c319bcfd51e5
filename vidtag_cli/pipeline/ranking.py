"""The points of the gallery that are looked at for each frame, in their order, and the posterior over all of it."""

from __future__ import annotations

import numpy as np

from vidtag_cli.gallery.posterior import PosteriorSummary, search_with_posterior
from vidtag_cli.gallery.search import rescore_points
from vidtag_cli.pipeline.session import Session

SEARCHED_POINTS = 128
"""Gallery points looked at for each frame; neighbours among them are merged into places."""


def rank_points(
    session: Session, queries: np.ndarray, posterior_scale: float
) -> tuple[np.ndarray, np.ndarray, PosteriorSummary]:
    """Return cosines (N, k) float32, best first, and indices (N, k) int64 of the points nearest to the embeddings of
    frames (N, E), and the summary of their posteriors; k is ``SEARCHED_POINTS``, or the points there are.

    A model that sees each frame by itself gives single gallery points, as the package it comes from does, so their
    order is that of float32. A ``vidtag`` bundle's radii were calibrated on the stored embeddings and go by these.
    """
    scores, indices, summary = search_with_posterior(session.gallery, queries, SEARCHED_POINTS, posterior_scale)
    if session.bundle.kind == "geoclip":
        scores, indices = rescore_points(session.gallery, queries, indices, session.embed_places)
    return scores, indices, summary
