"""The columns of the tables: their names in data files, their headings, and how a score fills them."""

from __future__ import annotations

from training.evaluation.predictions import PLACE_LEVELS
from training.evaluation.score import Score
from vidtag_cli.evaluation.bootstrap import Estimate

DEFAULT_COLUMNS = (
    "frame_0.5", "frame_1", "frame_5", "frame_25", "frame_200", "frame_median",
    "video_0.5", "video_1", "video_5", "video_25", "video_median", "dfd_deg", "dfd_km", "mrd_deg", "mrd_km",
)  # fmt: skip
"""What a table shows when no table of the paper is set beside it."""

_HEADINGS = {
    "frame_median": "frames, median km",
    "video_median": "videos, median km",
    "dfd_deg": "DFD deg",
    "dfd_km": "DFD km",
    "mrd_deg": "MRD deg",
    "mrd_km": "MRD km",
    "trainable_millions": "trainable M",
    "test_gmacs": "GMACs",
    "train_hours": "training h",
    **{level: f"{level} %" for level in PLACE_LEVELS},
}


def heading(column: str) -> str:
    """Return what stands above a column. Raises ValueError for a column nobody knows."""
    kind, _, limit = column.partition("_")
    if column in _HEADINGS:
        return _HEADINGS[column]
    if kind in ("frame", "video") and limit.replace(".", "", 1).isdigit():
        return f"{kind}s < {limit} km %"
    raise ValueError(f"unknown column {column!r} of a table")


def is_share(column: str) -> bool:
    """Return whether a column holds per cent."""
    return heading(column).endswith("%")


def column_values(score: Score) -> dict[str, Estimate]:
    """Return every column that a score can fill; shares in per cent."""
    shares = {f"frame_{limit:g}": estimate for limit, estimate in score.frame_share_within.items()}
    shares |= {f"video_{limit:g}": estimate for limit, estimate in score.video_share_within.items()}
    return {
        **{column: per_cent(estimate) for column, estimate in shares.items()},
        "frame_median": score.frame_median_km,
        "video_median": score.video_median_km,
        "dfd_deg": score.dfd_deg,
        "dfd_km": score.dfd_km,
        "mrd_deg": score.mrd_deg,
        "mrd_km": score.mrd_km,
    }


def per_cent(estimate: Estimate) -> Estimate:
    """Return a share and its interval in per cent."""
    return Estimate(100.0 * estimate.value, 100.0 * estimate.low, 100.0 * estimate.high)
