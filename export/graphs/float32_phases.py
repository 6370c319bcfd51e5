"""The location encoder for engines without float64: phases exact to centimetres in float32 alone (docs/method.md 2.5).

TensorRT knows no float64, and in plain float32 a position is off by up to a metre before the encoder has begun: a
degree of longitude near 180 is stored in steps of 1.5e-5, and a phase of 1,000 turns in steps of 6e-5 turns. Neither
error is repaired by the usual compensated sums, because a compiler that reassociates or fuses operations may undo them.
Here nothing depends on the rounding of any operation. Every large number is held as a head, an integer of at most 12
bits times a power of two, and a small tail: products of two heads are exact in float32 however they are computed, and
the tails are so small that their rounding is millimetres. The elementwise product takes the place of a matrix product,
which TF32 would round to ten bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model.location_encoder import FourierBranch, LocationEncoder, equal_earth
from vidtag_cli.geo.sphere import unit_vector

HEAD_STEPS = 2048.0
"""A head is a multiple of 1/2048 below 2: 12 bits."""

TABLE_STEPS_PER_DEG = 16.0
"""Between two rows of a table a parabola is right to 1e-12: thousandths of a millimetre."""

_LONGITUDE_UNIT_DEG = 256.0
"""Longitudes are counted in this unit, a power of two: the division is exact."""

_FREQUENCY_BITS = 12


@dataclass(frozen=True, slots=True)
class SplitNumber:
    """The number ``head + tail`` (N, 1): the head a multiple of 1/2048 below 2, the tail at most about 1/4096."""

    head: Tensor
    tail: Tensor

    def __mul__(self, other: SplitNumber) -> SplitNumber:
        whole = self.head * other.head  # exact: 12 bits times 12 bits
        head = torch.round(whole * HEAD_STEPS) / HEAD_STEPS
        rest = self.head * other.tail + other.head * self.tail + self.tail * other.tail
        return SplitNumber(head, (whole - head) + rest)


class AngleTable(nn.Module):
    """Smooth functions of an angle in degrees, given as its float32 parts: a row for the next sixteenth of a degree,
    and a parabola from there.

    ``functions`` maps angles (R,) float64 degrees to values (R, F), each below 2.
    """

    rows: Tensor

    def __init__(self, functions: Callable[[Tensor], Tensor], max_deg: float) -> None:
        super().__init__()
        self.middle_row = round(max_deg * TABLE_STEPS_PER_DEG)
        at = torch.arange(-self.middle_row, self.middle_row + 1, dtype=torch.float64) / TABLE_STEPS_PER_DEG
        half_step = 0.5 / TABLE_STEPS_PER_DEG
        value, ahead, behind = (functions(at + shift) for shift in (0.0, half_step, -half_step))
        head = torch.round(value * HEAD_STEPS) / HEAD_STEPS
        derivative = (ahead - behind) / (2.0 * half_step)
        curve = (ahead - 2.0 * value + behind) / (2.0 * half_step**2)
        self.register_buffer("rows", torch.stack([head, value - head, derivative, curve], dim=-1).float())  # (R, F, 4)

    def forward(self, high_deg: Tensor, low_deg: Tensor) -> list[SplitNumber]:
        row = torch.round(high_deg * TABLE_STEPS_PER_DEG)
        beyond_deg = (high_deg - row / TABLE_STEPS_PER_DEG) + low_deg  # the difference is exact
        head, tail, derivative, curve = self.rows[row.long() + self.middle_row].unbind(-1)  # (N, F) each
        beyond = beyond_deg.unsqueeze(1)
        tail = tail + beyond * (derivative + beyond * curve)
        return [SplitNumber(head[:, [i]], tail[:, [i]]) for i in range(head.shape[1])]


class EqualEarthParts(nn.Module):
    """The two Equal Earth coordinates of positions given as float32 parts, as split numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.latitude = AngleTable(_equal_earth_of_latitude, 90.0)

    def forward(self, high_deg: Tensor, low_deg: Tensor) -> list[SplitNumber]:
        widest, y = self.latitude(high_deg[:, 0], low_deg[:, 0])
        return [_longitude(high_deg[:, [1]], low_deg[:, [1]]) * widest, y]


class UnitVectorParts(nn.Module):
    """The three coordinates of the unit vector of positions given as float32 parts, as split numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.latitude = AngleTable(_cosine_sine, 90.0)
        self.longitude = AngleTable(_cosine_sine, 180.0)

    def forward(self, high_deg: Tensor, low_deg: Tensor) -> list[SplitNumber]:
        cos_lat, sin_lat = self.latitude(high_deg[:, 0], low_deg[:, 0])
        cos_lon, sin_lon = self.longitude(high_deg[:, 1], low_deg[:, 1])
        return [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]


PROJECTIONS_IN_PARTS: Mapping[str, Callable[[], nn.Module]] = {
    "equal_earth": EqualEarthParts,
    "sphere": UnitVectorParts,
}


class SplitFourierBranch(nn.Module):
    """A Fourier branch on split coordinates; its linear layers are those of the branch it was made from."""

    frequency_head: Tensor
    frequency_tail: Tensor

    def __init__(self, branch: FourierBranch) -> None:
        super().__init__()
        frequency = branch.frequency.detach().float()  # (frequencies, coordinates)
        unit = 2.0 ** (math.ceil(math.log2(float(frequency.abs().max()))) - _FREQUENCY_BITS)
        head = torch.round(frequency / unit) * unit
        self.register_buffer("frequency_head", head)
        self.register_buffer("frequency_tail", frequency - head)
        self.layers, self.head = branch.layers, branch.head

    def forward(self, coordinates: list[SplitNumber]) -> Tensor:
        turns = torch.zeros_like(coordinates[0].head)
        for axis, coordinate in enumerate(coordinates):
            head, tail = self.frequency_head[:, axis], self.frequency_tail[:, axis]
            whole = coordinate.head * head  # (N, frequencies), exact: 12 bits times 12 bits
            rest = coordinate.head * tail + coordinate.tail * head + coordinate.tail * tail
            turns = turns + ((whole - torch.round(whole)) + rest)
        # A sine is exact near 0; a fast one of a GPU only there.
        angle = 2.0 * math.pi * (turns - torch.round(turns))
        features = torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)
        return self.head(self.layers(features))


class SplitLocationEncoder(nn.Module):
    """Location embeddings (N, E) float32, L2-normalised, of positions (N, 2) degrees in two float32 parts whose sum
    they are; the first part is the float32 nearest to the position.
    """

    def __init__(self, encoder: LocationEncoder) -> None:
        super().__init__()
        self.project = PROJECTIONS_IN_PARTS[encoder.kind]()
        self.branches = nn.ModuleList(SplitFourierBranch(branch) for branch in encoder.branches)  # type: ignore[arg-type]

    def forward(self, latlon_deg_high: Tensor, latlon_deg_low: Tensor) -> Tensor:
        coordinates = self.project(latlon_deg_high, latlon_deg_low)
        embedding = torch.stack([branch(coordinates) for branch in self.branches]).sum(0)
        return functional.normalize(embedding, dim=-1)


def _longitude(high_deg: Tensor, low_deg: Tensor) -> SplitNumber:
    steps_per_deg = HEAD_STEPS / _LONGITUDE_UNIT_DEG
    head_deg = torch.round(high_deg * steps_per_deg) / steps_per_deg
    tail_deg = (high_deg - head_deg) + low_deg
    return SplitNumber(head_deg / _LONGITUDE_UNIT_DEG, tail_deg / _LONGITUDE_UNIT_DEG)


def _equal_earth_of_latitude(lat_deg: Tensor) -> Tensor:
    """Return x at one unit of longitude, to which it is proportional, and y (R, 2)."""
    return equal_earth(torch.stack([lat_deg, torch.full_like(lat_deg, _LONGITUDE_UNIT_DEG)], dim=-1))


def _cosine_sine(angle_deg: Tensor) -> Tensor:
    vector = unit_vector(torch.stack([torch.zeros_like(angle_deg), angle_deg], dim=-1))
    return vector[:, :2]
