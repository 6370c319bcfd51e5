"""Models with random weights at true size, and the demo model's bundle, exported once for all tests."""

import few_threads  # noqa: F401
import numpy as np
import pytest
import torch
from shared_results import made_once
from torch import nn

from export.bundle import TrainedModel, read_about, write_bundle
from export.parity.report import ParityReport
from training.config_files import load_config
from training.model.rounding import round_weights_
from training.model.vidtag import build_model
from training.run.folder import FinishedRun
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.bundle.load import load_bundle

CALIBRATION = Calibration(
    {"posterior_scale": 20.0}, {"levels": [0.5, 0.95]}, "made up for a test", {"coverage95": 0.95}
)


def random_model(config):
    """Return a model whose batch norms have statistics of their own, as training leaves them."""
    torch.manual_seed(0)
    model = build_model(config.model)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight, mean=1.0, std=0.2)
            nn.init.normal_(module.bias, std=0.2)
    return round_weights_(model).eval()


def random_places(count, seed=0):
    rng = np.random.default_rng(seed)
    lat_deg = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    return np.stack([lat_deg, rng.uniform(-180, 180, count)], -1)


def finished_run(model, config, gallery_points=2000):
    """Return a run with this model, and numbers that mean nothing."""
    width = config.model.feature_dim
    return FinishedRun(
        config=config, model=model, gallery_latlon_deg=random_places(gallery_points), calibration=CALIBRATION,
        domain_arrays={"mean": np.zeros(width, np.float32), "whitening": np.eye(width, dtype=np.float32)},
        metrics={"median_km": 75.0}, parity_frames_rgb=None,
    )  # fmt: skip


@pytest.fixture(scope="session")
def flyover_config():
    return load_config("flyover")


@pytest.fixture(scope="session")
def flyover_model(flyover_config):
    return random_model(flyover_config)


@pytest.fixture(scope="session")
def flyover_run(flyover_model, flyover_config):
    return finished_run(flyover_model, flyover_config)


@pytest.fixture(scope="session")
def frame_size_px(flyover_config):
    return flyover_config.model.frame_size_px


@pytest.fixture(scope="session")
def flyover_export(flyover_run, tmp_path_factory):
    """Return the bundle in both precisions and its parity reports."""
    source = TrainedModel(flyover_run, read_about("flyover"), precisions=("fp32", "fp16"), for_tensorrt=True)

    def write(folder):
        return write_bundle(source, folder / "flyover.vidtag", force=False)[1]

    folder, reports = made_once(tmp_path_factory, "flyover-export", tuple[ParityReport, ...], write)
    return load_bundle(folder / "flyover.vidtag"), reports
