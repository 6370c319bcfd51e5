"""A verified bundle, ready for the engines."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path

from vidtag_cli.bundle.bundle_json import read_bundle_json
from vidtag_cli.bundle.contract import (
    BUNDLE_JSON,
    GALLERY_FILE,
    BundleContract,
    Calibration,
    Kind,
    Preprocess,
    Sampling,
    TensorContract,
    Window,
    fixed_shape,
)
from vidtag_cli.bundle.integrity import check_files, inside_path, sha256_of
from vidtag_cli.errors import ModelError

if typing.TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """A graph an engine can open: its path is absolute, and letters that the bundle fixes are replaced by numbers."""

    name: str
    path: Path
    sha256: str
    precision: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """A loaded bundle. ``sha256`` is that of ``bundle.json`` and so pins every file of the model."""

    path: Path
    sha256: str
    contract: BundleContract
    graphs: dict[str, ModelGraph]

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def kind(self) -> Kind:
        return self.contract.kind

    @property
    def preprocess(self) -> Preprocess:
        return self.contract.preprocess

    @property
    def sampling(self) -> Sampling:
        return self.contract.sampling

    @property
    def window(self) -> Window:
        return self.contract.window

    @property
    def logit_scale(self) -> float:
        return self.contract.logit_scale

    @property
    def embedding_dim(self) -> int:
        return self.contract.embedding_dim

    @property
    def feature_dim(self) -> int:
        return self.contract.feature_dim

    @property
    def location_encoder_kind(self) -> str:
        return self.contract.location_encoder_kind

    @property
    def calibration(self) -> Calibration:
        return self.contract.calibration

    @property
    def domain(self) -> str:
        return self.contract.domain

    def file(self, relative: str) -> Path:
        """Return the absolute path of a listed file, such as a calibration table.

        Raises ModelError when ``bundle.json`` does not list it: what is not hashed is not read.
        """
        if relative not in self.contract.files:
            raise ModelError(f"{self.path}: the bundle has no file {relative!r}")
        return inside_path(self.path, relative)

    def gallery_latlon_deg(self) -> np.ndarray:
        """Return the default gallery's coordinates: (G, 2) float64 degrees, latitude first."""
        import numpy as np

        path = self.file(GALLERY_FILE)
        try:
            latlon_deg = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: not an array of coordinates: {error}") from error
        if latlon_deg.dtype != np.float64 or latlon_deg.ndim != 2 or latlon_deg.shape[1] != 2 or not len(latlon_deg):
            raise ModelError(f"{path}: expected (G, 2) float64, found {latlon_deg.shape} {latlon_deg.dtype}")
        lat, lon = latlon_deg[:, 0], latlon_deg[:, 1]
        if not (np.all(np.abs(lat) <= 90.0) and np.all((lon >= -180.0) & (lon < 180.0))):
            raise ModelError(f"{path}: coordinates outside latitude [-90, 90], longitude [-180, 180)")
        return latlon_deg


def load_bundle(path: str | Path, verify: bool = True) -> ModelBundle:
    """Return the bundle in a folder.

    With ``verify`` every listed file is hashed. Without it the hashes alone are skipped: paths that leave the folder,
    missing files and weights that are not listed are refused either way. Raises ModelError that names every bad file.
    """
    bundle_dir = Path(path)
    contract = read_bundle_json(bundle_dir)
    bad = [check for check in check_files(bundle_dir, contract, hashes=verify) if not check.is_ok]
    if bad:
        listing = "; ".join(f"{check.path}: {check.status}{': ' * bool(check.detail)}{check.detail}" for check in bad)
        raise ModelError(f"{bundle_dir}: not as {BUNDLE_JSON} describes it: {listing}; install the model again")
    sizes = contract.fixed_dimensions()
    graphs = {
        name: ModelGraph(
            name,
            inside_path(bundle_dir, graph.file),
            graph.sha256,
            graph.precision,
            _fixed_tensors(graph.inputs, sizes),
            _fixed_tensors(graph.outputs, sizes),
        )
        for name, graph in contract.graphs.items()
    }
    return ModelBundle(bundle_dir.resolve(), sha256_of(bundle_dir / BUNDLE_JSON), contract, graphs)


def _fixed_tensors(tensors: tuple[TensorContract, ...], sizes: dict[str, int]) -> tuple[TensorContract, ...]:
    return tuple(TensorContract(tensor.name, tensor.dtype, fixed_shape(tensor.shape, sizes)) for tensor in tensors)
