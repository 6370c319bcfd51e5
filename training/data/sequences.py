"""From frames with positions to samples: what is too short is dropped and said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.ledger import Ledger
from training.data.sample import FrameSource, OfficialSplit, Place, Sample


@dataclass(frozen=True, slots=True)
class SequenceLabel:
    """What a sample is called and to whom it belongs; see ``Sample``."""

    key: str
    group: str
    stratum: str
    place: Place | None = None
    official_split: OfficialSplit | None = None


def sample_or_none(
    label: SequenceLabel,
    frames: Sequence[FrameSource],
    latlon_deg: np.ndarray,
    time_s: np.ndarray,
    min_frames: int,
    ledger: Ledger,
) -> Sample | None:
    """Return the sample of one sequence, or None, with a word in the ledger, when it has too few frames."""
    ledger.find("sequence")
    if len(frames) < min_frames:
        example = f"{label.key}: {len(frames)} frames"
        ledger.drop("sequence", "sequence_short", example)
        ledger.drop("frame", "sequence_short", example, len(frames))
        return None
    ledger.keep("sequence")
    ledger.keep("frame", len(frames))
    return Sample(
        key=label.key,
        group=label.group,
        stratum=label.stratum,
        frames=tuple(frames),
        latlon_deg=np.asarray(latlon_deg, dtype=np.float64).reshape(-1, 2),
        time_s=np.asarray(time_s, dtype=np.float64) - float(time_s[0]),
        place=label.place,
        official_split=label.official_split,
    )
