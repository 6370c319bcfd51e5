"""Is this footage of the kind the model knows? Judged on pixels and features, before any place is believed
(docs/method.md 3.5).

The gate names the kind of every frame: as in training, or changed in one of the ways it was fitted on (grey, dark,
mirrored and so on). What the frames of a window say is averaged: a clip is of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidtag_cli.bundle.array_files import ArrayShape, read_arrays
from vidtag_cli.bundle.contract import GATE_FILE, GateContract, Kind
from vidtag_cli.bundle.load import ModelBundle

APPEARANCE = (
    "brightness", "log_contrast", "darkest", "brightest", "blueness", "redness", "log_chroma", "log_chroma_spread",
    "log_gradient_x", "log_gradient_y", "log_curvature", "log_checker", "log_edge_contrast", "log_chroma_gradient",
    "chroma_correlation",
)  # fmt: skip
"""What is measured of a frame's pixels, in the order of :func:`measure_appearance`."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601, as JPEG has it: any luma would do, but it must stay the one the gate was fitted with."""

_FLOOR = 1e-3
"""Added before logarithms, of levels from 0 to 1: a quarter of a level of 8 bits."""

_CLIP = 8.0
"""Standardised inputs farther from the mean say no more."""


WINDOW_SIGNS = ("mirror_margin", "agreeing_share", "mean_cosine", "neighbour_cosine")
"""What the places that a window's frames are given say of it, in the order of the columns of ``window_signs``: by how
much they fit better than those of its mirror image (infinite where that was not asked), how many frames agree with most
others, how near the features come to any place on Earth, how alike neighbouring frames are to the model (the median;
infinite for a single frame): frames that show nearly the same err alike and must not confirm each other.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """A network of one hidden layer over the features and the appearance of a frame, float32, and the limits of what
    it lets through, which the bundle promises.

    ``mean`` and ``scale`` (D + P,) standardise its inputs; ``hidden_weight`` (D + P, H), ``hidden_bias`` (H,),
    ``kind_weight`` (H, K) and ``kind_bias`` (K,) give one logit for each of the kinds, of which the first is that of
    training.
    """

    limits: GateContract
    mean: np.ndarray
    scale: np.ndarray
    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    kind_weight: np.ndarray
    kind_bias: np.ndarray

    def kind_logits(self, features: np.ndarray, frames_rgb: np.ndarray) -> np.ndarray:
        """Return (N, K) float32 for frames (N, S, S, 3) uint8 and their features (N, D)."""
        if len(features) == 1:  # as a matrix: sums of BLAS for a single vector depend on its threads
            return self.kind_logits(features.repeat(2, axis=0), frames_rgb.repeat(2, axis=0))[:1]
        inputs = np.concatenate([features, measure_appearance(frames_rgb)], axis=1)
        standard = np.clip((inputs - self.mean) / self.scale, -_CLIP, _CLIP)
        hidden = np.maximum(standard @ self.hidden_weight + self.hidden_bias, 0.0)
        logits: np.ndarray = hidden @ self.kind_weight + self.kind_bias
        return logits

    def objection(self, kind_logits: np.ndarray, signs: np.ndarray) -> str | None:
        """Return why a window is not of the model's kind, or None; ``kind_logits`` (K,) and ``signs`` as in
        ``WINDOW_SIGNS`` are its own. What is no number is within no limit.
        """
        limits = self.limits
        strangeness_nat = float(strangeness(kind_logits))
        mirror_margin, agreeing_share, mean_cosine, neighbour_cosine = (float(sign) for sign in signs)
        if not strangeness_nat <= limits.max_strangeness_nat:
            kind = limits.kinds[1 + int(np.argmax(kind_logits[1:]))]
            return f"unlike what the model was made for (looks {kind.replace('_', ' ')}: {strangeness_nat:.1f} nat)"
        if not mirror_margin >= limits.min_mirror_margin:
            return f"its mirror image fits the Earth as well (margin {mirror_margin:.3f})"
        if not agreeing_share >= limits.min_agreeing_share:
            return (
                f"too few frames agree ({agreeing_share:.0%} within reach of most others, "
                f"at least {limits.min_agreeing_share:.0%} are needed)"
            )
        if not mean_cosine >= limits.min_mean_cosine:
            return f"nowhere on Earth looks like it (mean cosine {mean_cosine:.2f}, limit {limits.min_mean_cosine:.2f})"
        return self._objection_to_pace(neighbour_cosine)

    def _objection_to_pace(self, neighbour_cosine: float) -> str | None:
        least, most = self.limits.min_neighbour_cosine, self.limits.max_neighbour_cosine
        if neighbour_cosine == np.inf or least <= neighbour_cosine <= most:
            return None
        if neighbour_cosine > most:
            return (
                f"frames too alike to confirm each other (cosine {neighbour_cosine:.3f} between neighbours, limit "
                f"{most:.3f}): a slower camera than the model was measured on; try fewer frames with --fps"
            )
        return (
            f"frames too unlike to confirm each other (cosine {neighbour_cosine:.3f} between neighbours, limit "
            f"{least:.3f}): a faster camera than the model was measured on; try more frames with --fps"
        )


def strangeness(kind_logits: np.ndarray) -> np.ndarray:
    """Return (...,) the log odds that frames of logits (..., K) are of any kind but the first, in nats."""
    others = kind_logits[..., 1:]
    most = others.max(axis=-1)
    odds: np.ndarray = most + np.log(np.exp(others - most[..., None]).sum(axis=-1)) - kind_logits[..., 0]
    return odds


def neighbour_cosine(embedding: np.ndarray) -> np.ndarray:
    """Return (W,) the median cosine between neighbouring frames of windows (W, T, E), infinite where T is 1."""
    if embedding.shape[1] < 2:
        return np.full(len(embedding), np.inf)
    unit = embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)
    median: np.ndarray = np.median((unit[:, 1:] * unit[:, :-1]).sum(-1), axis=1)
    return median


def measure_appearance(frames_rgb: np.ndarray) -> np.ndarray:
    """Return (N, P) float32 what ``APPEARANCE`` names of frames (N, S, S, 3) uint8: light, colour, sharpness, flat
    edges. Gradients are relative to the contrast, curvature to the gradients: scenes differ less in them than lenses.
    """
    levels = frames_rgb.astype(np.float32) / np.float32(255.0)
    luma = levels @ LUMA
    blueness, redness = levels[..., 2] - luma, levels[..., 0] - luma
    chroma = np.hypot(blueness, redness)
    contrast = luma.std(axis=(1, 2))
    gradient_x, gradient_y = (np.abs(np.diff(luma, axis=axis)).mean(axis=(1, 2)) for axis in (2, 1))
    curvature = np.abs(
        4.0 * luma[:, 1:-1, 1:-1] - luma[:, :-2, 1:-1] - luma[:, 2:, 1:-1] - luma[:, 1:-1, :-2] - luma[:, 1:-1, 2:]
    ).mean(axis=(1, 2))
    checker = np.abs(luma[:, 1:, 1:] - luma[:, :-1, 1:] - luma[:, 1:, :-1] + luma[:, :-1, :-1]).mean(axis=(1, 2))
    borders = np.stack([luma[:, 0], luma[:, -1], luma[:, :, 0], luma[:, :, -1]], axis=1).std(axis=2).min(axis=1)
    chroma_gradient = np.abs(np.diff(blueness, axis=2)).mean(axis=(1, 2))
    product = (blueness * redness).mean(axis=(1, 2))
    spread = blueness.std(axis=(1, 2)) * redness.std(axis=(1, 2))
    ordered = np.sort(luma.reshape(len(luma), -1), axis=1)
    fiftieth = ordered.shape[1] // 50
    columns = (
        luma.mean(axis=(1, 2)), _log(contrast), ordered[:, fiftieth], ordered[:, -1 - fiftieth],
        blueness.mean(axis=(1, 2)), redness.mean(axis=(1, 2)), _log(chroma.mean(axis=(1, 2))),
        _log(chroma.std(axis=(1, 2))), _log(gradient_x) - _log(contrast), _log(gradient_y) - _log(contrast),
        _log(curvature) - _log(gradient_x + gradient_y), _log(checker) - _log(curvature),
        _log(borders) - _log(contrast), _log(chroma_gradient) - _log(gradient_x), product / (spread + _FLOOR),
    )  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def mirrored(frames_rgb: np.ndarray) -> np.ndarray:
    """Return the mirror images of frames (N, S, S, 3): where the Earth is seen, no picture of it."""
    return np.ascontiguousarray(frames_rgb[:, :, ::-1])


def cropped(frames_rgb: np.ndarray) -> np.ndarray:
    """Return the middle of frames (N, S, S, 3) uint8, seven eighths of each side, at their size."""
    size = frames_rgb.shape[1]
    inner = size * 7 // 8
    position = (np.arange(size) + 0.5) * inner / size - 0.5 + (size - inner) // 2
    low = np.clip(np.floor(position).astype(np.int64), 0, size - 2)
    share = np.clip(position - low, 0.0, 1.0).astype(np.float32)[:, None]
    columns = frames_rgb[:, :, low] * (1.0 - share) + frames_rgb[:, :, low + 1] * share
    rows = columns[:, low] * (1.0 - share[:, None]) + columns[:, low + 1] * share[:, None]
    return np.rint(rows).astype(np.uint8)


def changed_views(kind: Kind, has_gate: bool, frames_rgb: np.ndarray) -> list[np.ndarray]:
    """Return copies of frames (N, S, S, 3) uint8 by which a model is asked whether it agrees with itself.

    A model that sees each frame by itself should find the same place in a mirror image and in the middle of a picture:
    it knows what kinds of places look like. One that looks down on the Earth should not find any in a mirror image; the
    worth of other copies was measured and is small (docs/shift-results.md).
    """
    if kind == "geoclip":
        return [mirrored(frames_rgb), cropped(frames_rgb)]
    return [mirrored(frames_rgb)] if has_gate else []


def _log(levels: np.ndarray) -> np.ndarray:
    logarithms: np.ndarray = np.log(levels + _FLOOR)
    return logarithms


def load_gate(bundle: ModelBundle) -> Gate | None:
    """Return the gate of a bundle, None where it has none; raises ModelError for a damaged one."""
    promise = bundle.contract.gate
    if promise is None:
        return None
    width, kinds = bundle.feature_dim + len(APPEARANCE), len(promise.kinds)
    expected = {
        "mean": ArrayShape("float32", (width,)),
        "scale": ArrayShape("float32", (width,)),
        "hidden_weight": ArrayShape("float32", (width, promise.hidden_width)),
        "hidden_bias": ArrayShape("float32", (promise.hidden_width,)),
        "kind_weight": ArrayShape("float32", (promise.hidden_width, kinds)),
        "kind_bias": ArrayShape("float32", (kinds,)),
    }
    arrays = read_arrays(bundle.file(GATE_FILE), expected)
    return Gate(promise, **arrays)
