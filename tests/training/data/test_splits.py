"""Splits are stable, keep groups together and take about their share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data.sample import FrameSource, OfficialSplit, Sample
from training.data.splits import hash_fraction, split_samples
from vidtag_cli.errors import UsageError

SHARE_TOLERANCE = 0.03
"""Four standard deviations of a share of 0.1 among 2,000."""


def sample(group: str, stratum: str = "tokyo", official: OfficialSplit | None = None, part: int = 0) -> Sample:
    key = f"msls/{stratum}/{group}#{part}"
    return Sample(key, group, stratum, (FrameSource(Path("a.jpg")),), np.zeros((1, 2)), np.zeros(1), None, official)


def test_hash_is_the_same_on_every_machine() -> None:
    # printf '\0\0\0\5tokyo\0\0\0\6AbC123\0\0\0\6vidtag' | sha256sum, the first 53 bits
    assert hash_fraction("tokyo", "AbC123", "vidtag") == (0x8D0430977148D993 >> 11) / 2**53
    assert hash_fraction("ab", "c") != hash_fraction("a", "bc")


def test_a_tenth_of_each_city_is_held_out() -> None:
    split = split_samples([sample(str(number), city) for city in ("tokyo", "paris") for number in range(2000)])
    shares = split.held_out_by_stratum()
    assert list(shares) == ["paris", "tokyo"]
    assert all(abs(share - 0.1) < SHARE_TOLERANCE for share in shares.values())
    assert {each.group for each in split.val if each.stratum == "tokyo"} != {
        each.group for each in split.val if each.stratum == "paris"
    }


def test_a_sequence_never_changes_sides() -> None:
    few, many = ([sample(str(number)) for number in range(0, 1000, step)] for step in (7, 1))
    held_out = {each.key for each in split_samples(many).val}
    assert {each.key for each in split_samples(few).val} == held_out & {each.key for each in few}
    # A larger share only adds.
    assert held_out < {each.key for each in split_samples(many, 0.2).val}


def test_a_group_is_never_parted() -> None:
    split = split_samples([sample(str(number // 3), part=number % 3) for number in range(900)])
    assert not {each.group for each in split.train} & {each.group for each in split.val}


def test_official_split_comes_first() -> None:
    samples = [sample(str(number), official="train" if number % 2 else "val") for number in range(100)]
    split = split_samples([*samples, sample("test", official="test")])
    assert {each.official_split for each in split.train} == {"train"}
    assert len(split.val) == 51
    assert len(split_samples(samples, use_official=False).val) < 25


def test_all_and_nothing() -> None:
    samples = [sample(str(number)) for number in range(50)]
    assert (len(split_samples(samples, 0.0).val), len(split_samples(samples, 1.0).train)) == (0, 0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_samples(samples, 1.5)
