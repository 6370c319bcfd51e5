"""Which samples train and which are held out: the same on every machine, whatever else is on the disk."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from training.data.sample import Sample
from vidtag_cli.errors import UsageError

HELD_OUT = 0.1
"""docs/method.md 2.13: a tenth of each city's sequences."""


@dataclass(frozen=True, slots=True)
class Split:
    """Samples to train from and samples to validate on, in the order they came in."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]

    def held_out_by_stratum(self) -> dict[str, float]:
        """Return the share of samples held out in each stratum."""
        val, both = (Counter(sample.stratum for sample in part) for part in (self.val, (*self.train, *self.val)))
        return {stratum: val[stratum] / count for stratum, count in sorted(both.items())}


def split_samples(
    samples: Sequence[Sample], held_out: float = HELD_OUT, salt: str = "vidtag", use_official: bool = True
) -> Split:
    """Return the split: the data set's own where it names one (its test part counts as validation), else by hash.

    Within a stratum each group is held out with probability ``held_out``, decided by nothing but its name, so that a
    sequence never changes sides when others come or go; the share itself is therefore only near ``held_out``.
    """
    if not 0.0 <= held_out <= 1.0:
        raise UsageError(f"the share held out, {held_out}, is not between 0 and 1")
    parts: tuple[list[Sample], list[Sample]] = ([], [])
    for sample in samples:
        if use_official and sample.official_split is not None:
            is_held_out = sample.official_split != "train"
        else:
            is_held_out = hash_fraction(sample.stratum, sample.group, salt) < held_out
        parts[is_held_out].append(sample)
    return Split(tuple(parts[0]), tuple(parts[1]))


def hash_fraction(*names: str) -> float:
    """Return a number in [0, 1) that depends on the names only: the first 53 bits of their SHA-256."""
    # Lengths keep ("ab", "c") and ("a", "bc") apart.
    content = b"".join(len(name.encode()).to_bytes(4, "big") + name.encode() for name in names)
    return (int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 11) / 2.0**53
