"""A bundle with a gate: the network from changed flights, its limits from flights as they are, what it lets through."""

from __future__ import annotations

import dataclasses
import io
import logging
import shutil
from pathlib import Path

import numpy as np

from training.config import TrainingConfig
from training.flyover.flights import draw_flights
from training.flyover.imagery import load_textures
from training.shift.changes import KINDS, apply_change
from training.shift.films import film_flights, gate_samples
from training.shift.fit_gate import HIDDEN_WIDTH, fit_gate, gate_kinds
from training.shift.locate_film import film_outputs
from vidtag_cli.bundle.bundle_json import write_bundle_json
from vidtag_cli.bundle.contract import BUNDLE_SUFFIX, GATE_FILE, BundleContract, GateContract
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.errors import OutputError
from vidtag_cli.files import replace_file, replace_folder
from vidtag_cli.pipeline.gate import Gate, strangeness
from vidtag_cli.pipeline.session import Session, open_session

_log = logging.getLogger("training")

SAMPLE_STREAM, LIMIT_STREAM = 30, 31
LIMIT_FLIGHTS = 240
_FLIGHTS_AT_ONCE = 48

KEPT = {"max_strangeness_nat": 0.97, "min_mirror_margin": 0.98, "min_mean_cosine": 0.96}
"""Share of the flights as they are that each limit lets through; they refuse partly the same ones."""

MIN_AGREEING_SHARE = 0.6
"""A window most of whose frames contradict each other is not believed for the few that happen to agree."""


def write_gated_bundle(
    model: str, out: Path, config: TrainingConfig, samples: Path, groups: int, *, force: bool
) -> str:
    """Write ``out`` (NAME.vidtag): the bundle ``model`` with a gate; return the sentence that the bundle says of it."""
    if out.suffix != BUNDLE_SUFFIX or (out.exists() and not force):
        raise OutputError(f"{out}: a new bundle's folder is called NAME{BUNDLE_SUFFIX}; --force replaces one")
    out.parent.mkdir(parents=True, exist_ok=True)  # before minutes of training
    session = dataclasses.replace(open_session(model), gate=None)
    _log.info("%s: changing and encoding flights, %d groups", samples, groups)
    arrays = fit_gate(gate_samples(session, config, load_textures(), samples, groups, SAMPLE_STREAM), config.seed)
    contract = _limits(session, config, arrays, groups)
    with replace_folder(out) as fresh:
        for name in session.bundle.contract.files:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(session.bundle.path / name, fresh / name)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]  # the stub reads one as allow_pickle
        replace_file(fresh / GATE_FILE, content.getvalue())
        files = session.bundle.contract.files | {GATE_FILE: sha256_of(fresh / GATE_FILE)}
        whole: BundleContract = dataclasses.replace(session.bundle.contract, files=files, gate=contract)
        write_bundle_json(fresh, whole)
    return contract.statement


def _limits(session: Session, config: TrainingConfig, arrays: dict[str, np.ndarray], groups: int) -> GateContract:
    """Return the limits that flights as they are stay within, from flights that the network never saw."""
    open_limits = GateContract(gate_kinds(), HIDDEN_WIDTH, 1e12, -2.0, 0.0, -1.0, "")
    gated = dataclasses.replace(session, gate=Gate(open_limits, **arrays))
    rng = np.random.default_rng((config.seed, LIMIT_STREAM))
    textures, parts = load_textures(), []
    for _ in range(0, LIMIT_FLIGHTS, _FLIGHTS_AT_ONCE):
        flights = draw_flights(config.flight_recipe(), _FLIGHTS_AT_ONCE, rng)
        film = film_flights(textures, flights, rng)
        frames = apply_change(film, KINDS["none"].make(0.0), session.bundle.preprocess.frame_size_px)
        outputs = film_outputs(gated, frames)
        signs = outputs["window_signs"][:, 0]
        parts.append(np.column_stack([strangeness(outputs["kind_logits"][:, 0]), signs[:, 0], signs[:, 2]]))
        _log.info("limits: %d of %d flights", sum(map(len, parts)), LIMIT_FLIGHTS)
    strange, margin, cosine = np.concatenate(parts).T
    return GateContract(
        kinds=gate_kinds(),
        hidden_width=HIDDEN_WIDTH,
        max_strangeness_nat=round(float(np.quantile(strange, KEPT["max_strangeness_nat"])), 4),
        min_mirror_margin=round(float(np.quantile(margin, 1.0 - KEPT["min_mirror_margin"])), 4),
        min_agreeing_share=MIN_AGREEING_SHARE,
        min_mean_cosine=round(float(np.quantile(cosine, 1.0 - KEPT["min_mean_cosine"])), 4),
        statement=(
            f"The gate was fitted on {groups} groups of flights changed in {len(gate_kinds()) - 1} ways, its limits on "
            f"{LIMIT_FLIGHTS} further flights as they are, of which they let through 96 to 98 % each. What it lets "
            "through of changed footage is in docs/shift-results.md; footage changed in other ways was not measured."
        ),
    )
