"""A bundle with a gate: the network from changed flights, its limits from flights as they are, what it lets through."""

from __future__ import annotations

import dataclasses
import io
import logging
from pathlib import Path

import numpy as np

from training.config import TrainingConfig
from training.flyover.flights import draw_flights
from training.flyover.imagery import load_textures
from training.shift.bundle_copy import prepare_copy, write_copy
from training.shift.changes import Change
from training.shift.films import film_changed, gate_samples
from training.shift.fit_gate import HIDDEN_WIDTH, fit_gate, gate_kinds
from training.shift.locate_film import film_outputs
from vidtag_cli.bundle.contract import GATE_FILE, GateContract
from vidtag_cli.pipeline.gate import Gate, strangeness
from vidtag_cli.pipeline.session import Session, open_session

_log = logging.getLogger("training")

SAMPLE_STREAM, LIMIT_STREAM = 30, 31
LIMIT_FLIGHTS = 240
_FLIGHTS_AT_ONCE = 48

KEPT = {
    "max_strangeness_nat": 0.97, "min_mirror_margin": 0.98, "min_mean_cosine": 0.96,
    "min_neighbour_cosine": 0.985, "max_neighbour_cosine": 0.985,
}  # fmt: skip
"""Share of the flights as they are that each limit lets through; they refuse partly the same ones."""

MIN_AGREEING_SHARE = 0.6
"""A window most of whose frames contradict each other is not believed for the few that happen to agree."""


def write_gated_bundle(
    model: str, out: Path, config: TrainingConfig, samples: Path, groups: int, *, force: bool
) -> str:
    """Write ``out`` (NAME.vidtag): the bundle ``model`` with a gate; return the sentence that the bundle says of it."""
    prepare_copy(out, force)
    session = dataclasses.replace(open_session(model), gate=None)
    _log.info("%s: changing and encoding flights, %d groups", samples, groups)
    arrays = fit_gate(gate_samples(session, config, load_textures(), samples, groups, SAMPLE_STREAM), config.seed)
    contract = _limits(session, config, arrays, groups)
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # the stub reads one as allow_pickle
    whole = dataclasses.replace(session.bundle.contract, gate=contract)
    write_copy(session.bundle, out, whole, {GATE_FILE: content.getvalue()})
    return contract.statement


def _limits(session: Session, config: TrainingConfig, arrays: dict[str, np.ndarray], groups: int) -> GateContract:
    """Return the limits that flights as they are stay within, from flights that the network never saw."""
    open_limits = GateContract(gate_kinds(), HIDDEN_WIDTH, 1e12, -2.0, 0.0, -1.0, -1.0, 1.0, "")
    gated = dataclasses.replace(session, gate=Gate(open_limits, **arrays))
    rng = np.random.default_rng((config.seed, LIMIT_STREAM))
    textures, parts = load_textures(), []
    for _ in range(0, LIMIT_FLIGHTS, _FLIGHTS_AT_ONCE):
        flights = draw_flights(config.flight_recipe(), _FLIGHTS_AT_ONCE, rng)
        frames = film_changed(textures, flights, Change(), session.bundle.preprocess.frame_size_px, rng)
        outputs = film_outputs(gated, frames)
        signs = outputs["window_signs"][:, 0]
        parts.append(np.column_stack([strangeness(outputs["kind_logits"][:, 0]), signs[:, [0, 2, 3]]]))
        _log.info("limits: %d of %d flights", sum(map(len, parts)), LIMIT_FLIGHTS)
    strange, margin, cosine, alike = np.concatenate(parts).T

    def at_least(sign: np.ndarray, name: str) -> float:
        return round(float(np.quantile(sign, 1.0 - KEPT[name])), 4)

    def at_most(sign: np.ndarray, name: str) -> float:
        return round(float(np.quantile(sign, KEPT[name])), 4)

    return GateContract(
        kinds=gate_kinds(),
        hidden_width=HIDDEN_WIDTH,
        max_strangeness_nat=at_most(strange, "max_strangeness_nat"),
        min_mirror_margin=at_least(margin, "min_mirror_margin"),
        min_agreeing_share=MIN_AGREEING_SHARE,
        min_mean_cosine=at_least(cosine, "min_mean_cosine"),
        min_neighbour_cosine=at_least(alike, "min_neighbour_cosine"),
        max_neighbour_cosine=at_most(alike, "max_neighbour_cosine"),
        statement=(
            f"The gate was fitted on {groups} groups of flights changed in {len(gate_kinds()) - 1} ways, its limits on "
            f"{LIMIT_FLIGHTS} further flights as they are, of which they let through 96 to 99 % each. What it lets "
            "through of changed footage is in docs/shift-results.md; footage changed in other ways was not measured."
        ),
    )
