"""What a reader of a track must know: the model's domain, where was searched, what its numbers do not mean."""

from __future__ import annotations

from collections.abc import Sequence

from vidtag_cli.bundle.calibration_file import LoadedCalibration
from vidtag_cli.pipeline.calibration import NOT_MEASURED_THERE, UNCALIBRATED, UncertaintyRule
from vidtag_cli.pipeline.session import Session
from vidtag_cli.writers.names import printable
from vidtag_cli.writers.values import LIMITATION

CALIBRATED_BY_FILE = (
    "Circles, limits and probabilities go by a calibration made after the model: {name}, SHA-256 {sha256}, fitted on "
    "{fitted} clips and measured on {measured} others. {statement}"
)

ONE_SHOT = "Cuts were not looked for: the whole video was taken for one shot."

ONLY_THESE_PLACES = (
    "Only {count:,} places were searched ({source}): a camera that was elsewhere is given one of them all the same."
)

SPARSE_FRAMES = (
    "The frames lie farther apart than the {step_s:g} s for which this model was made and measured: how often its "
    "circles hold the true place then is unknown."
)

FAST = "Run with --fast: whether the model agrees with itself on changed copies of the pictures was not asked."

INCOMPLETE = "The input is incomplete or damaged ({missing}): what is missing was not analysed."

CONFIRM = "An investigative lead: a person must confirm it."


def limitations_of(
    session: Session, *, is_one_shot: bool, are_frames_sparse: bool, is_fast: bool = False, missing: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return what must be said of a track, one statement each: what holds for this run first, for every track last.

    ``missing`` says what of the input was not there or could not be decoded.
    """
    gallery = session.gallery
    places = ONLY_THESE_PLACES.format(count=gallery.points, source=gallery.contract.origin.source)
    is_measured = isinstance(session.rule, UncertaintyRule)
    applies = {
        session.bundle.domain: True,
        INCOMPLETE.format(missing="; ".join(missing)): bool(missing),
        places: not session.searches_own_gallery,
        NOT_MEASURED_THERE: is_measured and not session.searches_own_gallery,
        UNCALIBRATED: not is_measured,
        calibration_text(session.calibration): session.calibration is not None and session.searches_own_gallery,
        SPARSE_FRAMES.format(step_s=session.step_s): is_measured and are_frames_sparse,
        FAST: is_fast,
        ONE_SHOT: is_one_shot,
    }
    return (*(statement for statement, does_apply in applies.items() if does_apply), LIMITATION, CONFIRM)


def calibration_text(loaded: LoadedCalibration | None) -> str:
    """Return what is said of numbers that go by a calibration file, nothing without one."""
    if loaded is None:
        return ""
    return CALIBRATED_BY_FILE.format(
        name=printable(loaded.path.name), sha256=loaded.sha256, fitted=loaded.clips_of("fit"),
        measured=loaded.clips_of("measure"), statement=loaded.file.calibration.statement,
    )  # fmt: skip
