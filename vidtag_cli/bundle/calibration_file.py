"""A calibration that lies beside its model: the file that ``vidtag calibrate`` writes and ``--calibration`` reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from vidtag_cli.bundle.bundle_json import read_description
from vidtag_cli.bundle.contract import Calibration, Count, Kind
from vidtag_cli.bundle.load import ModelBundle
from vidtag_cli.errors import ModelError, missing_file
from vidtag_cli.strict_values import Range, encode

SCHEMA: Literal["vidtag-calibration/1"] = "vidtag-calibration/1"
SUFFIX = ".calibration.json"


@dataclass(frozen=True, slots=True)
class CalibrationClip:
    """A clip that took part: names and hashes of the video and of its truth, the part it was in, and how many of its
    ``frames`` with a true position the program would answer, whatever their circles.
    """

    name: str
    sha256: str
    truth: str
    truth_sha256: str
    part: Literal["fit", "measure"]
    frames: Count
    frames_answered: Count


@dataclass(frozen=True, slots=True)
class CalibratedModel:
    """The model that a calibration belongs to; ``sha256`` is that of its ``bundle.json`` and so pins all its files."""

    name: str
    sha256: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """All of a calibration file. ``split`` says in words how clips were parted, from ``seed``; each was on one side.

    ``gallery`` names the places searched, which are the model's own.
    """

    schema: Literal["vidtag-calibration/1"]
    model: CalibratedModel
    created_utc: str
    created_with: str
    gallery: str
    frames_per_second: Annotated[float, Range(1e-3, 1000.0)]
    seed: Annotated[int, Range(0, 2**63)]
    split: str
    clips: tuple[CalibrationClip, ...]
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class LoadedCalibration:
    """A calibration file as it was read, with the SHA-256 of its bytes."""

    path: Path
    sha256: str
    file: CalibrationFile

    def clips_of(self, part: Literal["fit", "measure"]) -> int:
        return sum(clip.part == part for clip in self.file.clips)


def calibration_bytes(file: CalibrationFile) -> bytes:
    """Return the bytes of a calibration file: the same calibration gives the same bytes."""
    return f"{json.dumps(encode(file), indent=2, allow_nan=False)}\n".encode()


def read_calibration_file(path: Path) -> LoadedCalibration:
    """Return a calibration file; raises InputError when it is missing and ModelError, with the key, for one that does
    not say all it must, or more.
    """
    if not path.is_file():
        raise missing_file(path)
    file = read_description(path, CalibrationFile, SCHEMA)
    if not file.calibration.is_measured:
        raise ModelError(f"{path}: calibration: nothing was measured: make it again with vidtag calibrate")
    return LoadedCalibration(path, hashlib.sha256(path.read_bytes()).hexdigest(), file)


def with_calibration(bundle: ModelBundle, loaded: LoadedCalibration) -> ModelBundle:
    """Return a bundle whose calibration is that of a file; raises ModelError for the file of another model."""
    model = loaded.file.model
    if model.sha256 != bundle.sha256:
        raise ModelError(
            f"{loaded.path}: made for the model {model.name} whose bundle.json has the SHA-256 {model.sha256}, not for "
            f"{bundle.name} at {bundle.path} ({bundle.sha256}): name that model with --model, or calibrate this one "
            "with vidtag calibrate"
        )
    contract = dataclasses.replace(bundle.contract, calibration=loaded.file.calibration)
    return dataclasses.replace(bundle, contract=contract)
