"""What every output says about itself: the program, the method and what the result does not mean."""

from __future__ import annotations

from vidtag_cli import __version__
from vidtag_cli.track import Track
from vidtag_cli.writers.text import legal_text

LIMITATION = "Estimate from image content; not a GNSS fix; not proof of place or of authenticity."
"""The sentence that travels with every track."""


def generator_text() -> str:
    """Return the program's name and version."""
    return f"vidtag {__version__}"


def source_text() -> str:
    """Return what kind of data the positions are, for the fields readers show as the source."""
    return f"{generator_text()} image-content estimate"


def limitations_of(track: Track) -> tuple[str, ...]:
    """Return the sentence that holds for every track and then the track's own ones, each once."""
    sentences = (LIMITATION, *(legal_text(sentence) for sentence in track.limitations))
    return tuple(dict.fromkeys(sentences))


def count_text(track: Track) -> str:
    """Return how many frames were analysed, located and abstained."""
    located, analysed = len(track.located()), len(track.points)
    return f"{analysed} frames analysed, {located} located, {analysed - located} abstained"


def time_basis_text(track: Track) -> str:
    """Return where absolute time comes from, and its note."""
    basis = track.time_basis
    text = f"{basis.source} ({basis.note})" if basis.note else basis.source
    return legal_text(text)


def statements_of(track: Track) -> tuple[str, ...]:
    """Return all that a reader must know to judge the track, one statement each, the limitations first."""
    return (
        *limitations_of(track),
        f"Model: {legal_text(track.model_name)}",
        f"Smoothing: {legal_text(track.smoothing)}",
        f"Time basis: {time_basis_text(track)}",
        count_text(track),
    )
