"""An engine that is new here is held against the CPU before its first use, and refused when it computes wrong."""

import pytest
from tiny_bundle import write_tiny_bundle
from tiny_geoclip_bundle import write_tiny_geoclip_bundle

from vidtag_cli.engines.opening import open_engine
from vidtag_cli.errors import ModelError
from vidtag_cli.pipeline import session
from vidtag_cli.pipeline.engine_trial import require_passed, trials_dir
from vidtag_cli.pipeline.session import open_session


class StandIn:
    """An engine of another name that computes as the CPU does, but for batches of ``wrong_rows`` of ``wrong_graph``."""

    def __init__(self, graph, machine):
        self.graph, self.machine, self.inner = graph, machine, open_engine(graph)

    def run(self, inputs):
        rows = len(next(iter(inputs.values())))
        self.machine.runs += 1
        is_wrong = self.graph.name == self.machine.wrong_graph and rows == self.machine.wrong_rows
        return {name: values[:, ::-1].copy() if is_wrong else values for name, values in self.inner.run(inputs).items()}

    def describe(self):
        return self.inner.describe() | {"engine": "tensorrt", "engine_sha256": self.machine.engine_sha256}


class Machine:
    engine_sha256, wrong_graph, wrong_rows, runs = "a" * 64, "", 0, 0


@pytest.fixture
def machine(tmp_path, monkeypatch):
    machine = Machine()
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(session, "open_engine", lambda graph, *_, **__: StandIn(graph, machine))
    return machine


@pytest.mark.parametrize("write", [write_tiny_bundle, write_tiny_geoclip_bundle])
def test_a_new_engine_is_tried_once(machine, tmp_path, write):
    bundle = write(tmp_path)
    open_session(bundle, engine="onnxruntime", device="cuda")
    assert len(list(trials_dir().iterdir())) == 2  # that of frames and that of places
    machine.runs = 0
    open_session(bundle, engine="onnxruntime", device="cuda")
    assert machine.runs == 0
    machine.engine_sha256 = "b" * 64
    open_session(bundle, engine="onnxruntime", device="cuda")
    assert machine.runs > 0 and len(list(trials_dir().iterdir())) == 4


@pytest.mark.parametrize("graph", ["image_encoder", "location_encoder"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_one_that_is_wrong_for_some_batches_is_refused_each_time_and_nothing_embedded(machine, tmp_path, graph, rows):
    bundle = write_tiny_geoclip_bundle(tmp_path)
    machine.wrong_graph, machine.wrong_rows = graph, rows
    for _ in range(2):
        with pytest.raises(ModelError, match=f"{graph} fp32 on onnxruntime: wrong results on this machine"):
            open_session(bundle, engine="onnxruntime", device="cuda")
    assert not list((tmp_path / "home").rglob("gallery.json"))


def test_the_reference_itself_is_not_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDTAG_HOME", str(tmp_path / "home"))
    open_session(write_tiny_geoclip_bundle(tmp_path), engine="onnxruntime", device="cpu")
    assert not trials_dir().exists()


def test_what_is_no_number_does_not_pass():
    from vidtag_cli.pipeline.engine_trial import SelfTest

    with pytest.raises(ModelError, match="wrong results"):
        require_passed(SelfTest("fp32", 1, float("nan"), {}), "x")
