"""``vidtag models get`` from the found files to an installed model that has located pictures on this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidtag_cli.bundle.bundle_json import write_bundle_json
from vidtag_cli.bundle.contract import BundleContract
from vidtag_cli.bundle.folders import models_dir
from vidtag_cli.bundle.integrity import sha256_of
from vidtag_cli.bundle.load import ModelBundle, load_bundle
from vidtag_cli.engines.build_observer import BuildObserver
from vidtag_cli.errors import OutputError
from vidtag_cli.files import replace_file, replace_folder, work_folder
from vidtag_cli.gallery.search import search_gallery
from vidtag_cli.pipeline.engine_trial import MIN_COSINE, SelfTest, judge_encoder, packaged_frames, require_passed
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.recipes.assemble import SourceFiles, Tell, assemble_bundle
from vidtag_cli.recipes.recipe import LoadedRecipe, bundle_name
from vidtag_cli.recipes.selftest import frame_encoder, places_of_frames
from vidtag_cli.recipes.sources import FoundSource, Progress, fetch, unpack

EXACT = "fp32"
PARITY_FILE = "parity.json"


@dataclass(frozen=True, slots=True)
class TriedModel:
    """An installed model, how its precision did, and the best place (lat, lon) and cosine of each test frame."""

    bundle: ModelBundle
    test: SelfTest
    places: tuple[tuple[float, float, float], ...]


def target_folder(loaded: LoadedRecipe, force: bool) -> Path:
    """Return where a model will be installed; raises OutputError where one is and ``force`` was not given."""
    target = models_dir() / bundle_name(loaded.recipe)
    if target.exists() and not force:
        raise OutputError(f"{target}: the model {loaded.recipe.name!r} is installed already; --force replaces it")
    return target


def make_model(
    loaded: LoadedRecipe, found: Sequence[FoundSource], precision: str, *, force: bool, tell: Tell,
    progress: Progress, observer: BuildObserver | None = None, threads: int | None = None,
) -> TriedModel:  # fmt: skip
    """Fetch what is missing, assemble the model, prove its precision on this machine, install it, and try it.

    Nothing is installed unless all of it went well; a model that was there before stays until then.
    """
    target = target_folder(loaded, force)
    fetched = [fetch(one, progress) for one in found]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with work_folder(target.parent) as work:
            files = SourceFiles(unpack(fetched, work))
            with replace_folder(target) as fresh:
                _assemble(loaded, files, fresh, precision, fetched, tell)
                proof = _prove(loaded, files, fresh, work, precision, tell, threads, observer)
                require_passed(proof, f"{loaded.recipe.name} {precision}")
                _keep_proof(fresh, proof)
                load_bundle(fresh)
    except OSError as error:
        raise OutputError(f"{target}: cannot be made: {error}") from error
    bundle = load_bundle(target)
    tell("locating the test pictures")
    return TriedModel(bundle, proof, _try(target, threads, observer))


def _assemble(
    loaded: LoadedRecipe, files: SourceFiles, folder: Path, precision: str, found: Sequence[FoundSource], tell: Tell
) -> BundleContract:
    names = "; ".join(f"{one.source.file_name} (SHA-256 {one.source.sha256})" for one in found)
    try:
        return assemble_bundle(loaded, files, folder, precision, f"recipe {loaded.sha256[:16]} and {names}", tell)
    finally:
        files.close()  # before engines are opened, which need the room


def _prove(
    loaded: LoadedRecipe, files: SourceFiles, fresh: Path, work: Path, precision: str, tell: Tell,
    threads: int | None, observer: BuildObserver | None,
) -> SelfTest:  # fmt: skip
    """Return how the precision does against fp32, which is made for that alone where it is not the one wanted."""
    bundle = load_bundle(fresh)
    frames_rgb = packaged_frames(bundle.preprocess.frame_size_px)
    exact = bundle
    if precision != EXACT and EXACT in loaded.recipe.precisions:
        tell(f"making {EXACT} beside it, to compare with")
        folder = work / EXACT
        folder.mkdir()
        _assemble(loaded, files, folder, EXACT, (), tell)
        exact = load_bundle(folder)
    tell(f"comparing {precision} with {EXACT} on {len(frames_rgb)} pictures")
    expected = _one_by_one(exact, EXACT if exact is not bundle else precision, frames_rgb, threads)
    limit = loaded.recipe.model.min_cosine if precision != EXACT else MIN_COSINE[EXACT]
    gallery = places_of_frames(bundle, threads, observer)
    encode = frame_encoder(bundle, precision, threads=threads)
    return judge_encoder(encode, expected, frames_rgb, precision, limit, gallery)


def _one_by_one(bundle: ModelBundle, precision: str, frames_rgb: np.ndarray, threads: int | None) -> np.ndarray:
    """Return the embeddings (N, E) of frames, each by itself; the engine, which holds all weights, ends with it."""
    encode = frame_encoder(bundle, precision, threads=threads)
    return np.concatenate([encode(frame[None]) for frame in frames_rgb])


def _keep_proof(folder: Path, proof: SelfTest) -> None:
    bundle = load_bundle(folder)
    document = json.dumps({"selftest": proof.document()}, indent=2) + "\n"
    replace_file(folder / PARITY_FILE, document.encode())
    files = bundle.contract.files | {PARITY_FILE: sha256_of(folder / PARITY_FILE)}
    write_bundle_json(folder, dataclasses.replace(bundle.contract, files=files))


def _try(folder: Path, threads: int | None, observer: BuildObserver | None) -> tuple[tuple[float, float, float], ...]:
    session = open_session(folder, threads=threads, observer=observer, allows_random_weights=True)
    frames_rgb = packaged_frames(session.bundle.preprocess.frame_size_px)
    embedding = np.concatenate([session.encode_frames(frame[None]) for frame in frames_rgb])
    scores, best = search_gallery(session.gallery, embedding, 1)
    places = session.gallery.latlon_deg[best[:, 0]]
    return tuple((float(lat), float(lon), float(score)) for (lat, lon), score in zip(places, scores[:, 0], strict=True))
