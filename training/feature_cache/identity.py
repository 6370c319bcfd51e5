"""What makes two caches the same: weights, preprocessing and the frames that were encoded."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from vidtag_cli.errors import InputError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CacheIdentity:
    """SHA-256 of the backbones' weights and of the listing of frames and positions, and the preprocessing in words."""

    weights: str
    preprocessing: str
    listing: str
    feature_dim: int
    format: int = FORMAT


def weights_fingerprint(encoder: nn.Module) -> str:
    """Return the SHA-256 of the names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def require_same(folder: Path, stored: CacheIdentity, wanted: CacheIdentity) -> None:
    """Raise InputError that names what differs between a cache on disk and the one asked for."""
    if stored == wanted:
        return
    differing = [
        f"{field.name} {getattr(stored, field.name)!r}, wanted {getattr(wanted, field.name)!r}"
        for field in dataclasses.fields(CacheIdentity)
        if getattr(stored, field.name) != getattr(wanted, field.name)
    ]
    raise InputError(
        f"{folder}: these features are of other frames or weights ({'; '.join(differing)}); give another folder, or "
        "remove this one to encode anew"
    )
