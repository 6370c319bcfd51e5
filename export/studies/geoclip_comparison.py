"""A GeoCLIP bundle beside the ``geoclip`` package itself: the same places, and the time each of them takes a picture.

Both sides get one and the same CLIP: ``random_clip`` makes one of true size, for machines that cannot fetch the
published one. Times do not depend on the weights.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch.nn import functional

from export.parity.cases import synthetic_frames
from vidtag_cli.pipeline.locate import single_frames
from vidtag_cli.pipeline.session import Session, open_session
from vidtag_cli.pipeline.uncertainty import rank_points

PLACES = 5
"""How many distinct places are compared."""

_SEED = 0
_INITIALIZER_FACTOR = 4.0
"""At transformers' own 1 the embeddings of all pictures are nearly one, and so would be the places."""

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many lists of places are equal, in coordinates and order.

    ``widest`` is the largest difference in the package's own cosine between the two places of one rank, 0 where all
    lists are equal.
    """

    pictures: int
    equal: int
    widest: float


def geoclip_compare(
    bundle: Annotated[Path, typer.Argument(help="The bundle, made by python -m export geoclip --clip FOLDER.")],
    clip: Annotated[Path, typer.Option(help="The CLIP folder that it was made from.")],
    pictures: Annotated[int, typer.Option(min=1, max=31, help="Pictures whose places are compared.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of timing, alternating.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of either side.")] = 1,
) -> None:
    """Compare places and time per picture of a bundle with the geoclip package, on the CPU."""
    torch.set_num_threads(threads)
    frames_rgb = synthetic_frames(224, np.random.default_rng(_SEED))[:pictures]
    session, package = open_session(bundle, threads=threads), package_model(clip)
    agreement = compare_places(session, package, frames_rgb)
    typer.echo(f"first {PLACES} distinct places equal, order too: {agreement.equal} of {agreement.pictures} pictures")
    if agreement.widest:
        typer.echo(f"where not, the package's own cosines of the two differ by at most {agreement.widest:.1e}")
    with tempfile.TemporaryDirectory() as folder:
        sides = timed_sides(session, package, frames_rgb[0], Path(folder))
        for name, seconds in alternate(sides, rounds).items():
            typer.echo(f"{name}: {min(seconds):.3f} s at best, {statistics.median(seconds):.3f} s median of {rounds}")


def random_clip(folder: Annotated[Path, typer.Argument(help="The folder to write: 1.3 GB.")]) -> None:
    """Write CLIP ViT-L/14 with random weights, as transformers writes the published one: for comparisons alone."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(_SEED)
    text = {"bos_token_id": 0, "eos_token_id": 2, "num_hidden_layers": 1}  # not used
    vision = {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "patch_size": 14, "image_size": 224, "initializer_factor": _INITIALIZER_FACTOR,
    }  # fmt: skip
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def package_model(clip_folder: Path) -> Any:
    """Return the package's model with a CLIP folder in the place of the one it would fetch from the hub."""
    from geoclip import GeoCLIP

    return GeoCLIP(clip_path=str(clip_folder)).eval()


@torch.no_grad()
def package_embeddings(package: Any, frames_rgb: np.ndarray) -> torch.Tensor:
    """Return the package's embeddings (N, E) of frames (N, S, S, 3) uint8, normalised, by its own preprocessing."""
    from PIL import Image

    images = [package.image_encoder.preprocess_image(Image.fromarray(frame)) for frame in frames_rgb]
    return functional.normalize(package.image_encoder(torch.cat(images)), dim=1)


@torch.no_grad()
def package_cosines(package: Any, embedding: torch.Tensor) -> np.ndarray:
    """Return the cosines (N, G) of embeddings (N, E) with the package's gallery, which is encoded once for all."""
    places = functional.normalize(package.location_encoder(package.gps_gallery), dim=1)
    return (embedding @ places.T).numpy()


def compare_places(session: Session, package: Any, frames_rgb: np.ndarray) -> Agreement:
    """Return how far the first distinct places of frames (N, 224, 224, 3) agree between a session and the package."""
    places, cosines = package.gps_gallery.numpy(), package_cosines(package, package_embeddings(package, frames_rgb))
    equal, widest = 0, 0.0
    for ours, row in zip(session_places(session, frames_rgb), cosines, strict=True):
        theirs = distinct_places(row, places)
        known = [float(row[np.flatnonzero((places == place).all(axis=1))[0]]) for place in ours]
        equal += ours == list(theirs)
        widest = max(widest, float(np.abs(np.subtract(known, list(theirs.values()))).max()))
    return Agreement(len(frames_rgb), equal, widest)


def session_places(session: Session, frames_rgb: np.ndarray) -> list[list[Place]]:
    """Return the first places of frames in a session, rounded to float32 as the package's gallery is."""
    outputs = single_frames(session, session.encode_frames(frames_rgb))
    _, indices, _ = rank_points(session, outputs["refined_embedding"], session.rule.posterior_scale)
    # In float32, 23 places of the published gallery coincide with another one.
    lists = ([_place(session.gallery.latlon_deg[index]) for index in row] for row in indices)
    return [list(dict.fromkeys(places))[:PLACES] for places in lists]


def distinct_places(scores: np.ndarray, latlon_deg: np.ndarray) -> dict[Place, float]:
    """Return the first distinct places by descending scores (G,), with their scores; equal scores in gallery order."""
    shares: dict[Place, float] = {}
    for index in np.argsort(-scores, kind="stable"):
        shares.setdefault(_place(latlon_deg[index]), float(scores[index]))
        if len(shares) == PLACES:
            break
    return shares


def timed_sides(session: Session, package: Any, frame_rgb: np.ndarray, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed: one picture to its first places, by the session and by the package's ``predict``."""
    from PIL import Image

    picture = folder / "picture.png"
    Image.fromarray(frame_rgb).save(picture)

    def ours() -> object:
        with Image.open(picture) as image:
            return session_places(session, np.asarray(image.convert("RGB"))[None])

    return {"vidtag": ours, "geoclip predict": lambda: package.predict(str(picture), PLACES)}


def alternate(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, Sequence[float]]:
    """Return the seconds of each side in every round; the sides take turns, so that a busy machine disturbs both."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return dict(seconds)


def _place(latlon_deg: np.ndarray) -> Place:
    lat_deg, lon_deg = np.asarray(latlon_deg, np.float32).tolist()
    return lat_deg, lon_deg
