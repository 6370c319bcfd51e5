"""``vidtag check`` on real videos with a tiny model: every verdict, its words, record and exit code."""

import json

import pytest
from synthetic_video import write_video
from tiny_bundle import write_tiny_bundle

from vidtag_cli.__main__ import main
from vidtag_cli.bundle.contract import Calibration
from vidtag_cli.commands.check import VERDICT_SENTENCES
from vidtag_cli.errors import CLAIM_INCONSISTENT, CLAIM_UNDECIDED
from vidtag_cli.pipeline.claim_verdict import KINDS

PARAMETERS = {
    "posterior_scale": 10.0, "place_radius_km": 100.0, "max_domain_distance": 1e9, "max_disagreement_km": 30000.0,
    "max_radius95_km": 30000.0,
}  # fmt: skip
TABLES = {"posterior_radius_edges_km": [], "radius50_km": [10.0], "radius95_km": [100.0]}


def claims_at(true, false):
    """Return tables of 40 clips, all of whose true claims score ``true`` and all others ``false``."""
    values = {f"claim_{kind}": [true if kind == "true" else false] * 40 for kind in KINDS}
    return values | {"claim_lr_edges": [(true + false) / 2.0], "claim_lr_log10": [-1.5, 1.5]}


def model_with(folder, claims, **parameters):
    calibration = Calibration(PARAMETERS | {"claim_radius_km": 100.0} | parameters, TABLES | claims, "test", {})
    return write_tiny_bundle(folder, calibration=calibration)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run_check(capsys, clip, model, *arguments):
    code = main(["check", str(clip), "--claim", "10,20", "--model", str(model), "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, json.loads(captured.out)


@pytest.mark.parametrize(
    ("verdict", "true", "false", "code"),
    [
        ("inconsistent", 1e6, -9e5, CLAIM_INCONSISTENT),
        ("consistent", -1e6, -2e6, 0),
        ("cannot say", 1e6, 1e6, CLAIM_UNDECIDED),
    ],
)
def test_every_verdict(capsys, tmp_path, clip, verdict, true, false, code):
    model = model_with(tmp_path / "model", claims_at(true, false))
    exit_code, result = run_check(capsys, clip, model, "--exit-verdict")
    assert (result["verdict"], exit_code) == (verdict, code)
    assert result["schema"] == "vidtag-check/1"
    assert result["calibration_clips"] == 40
    assert "within 100 km of 10.00000, 20.00000" in result["hypotheses"][0]
    assert result["reference_population"] in result["hypotheses"][1]


def test_the_exit_code_is_that_of_a_finished_run_unless_asked_for(capsys, tmp_path, clip):
    model = model_with(tmp_path / "model", claims_at(1e6, -9e5))
    assert run_check(capsys, clip, model)[0] == 0


def test_people_read_the_verdict_first(capsys, tmp_path, clip):
    model = model_with(tmp_path / "model", claims_at(1e6, -9e5))
    assert main(["check", str(clip), "--claim", "10,20,100", "--model", str(model)]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("verdict: inconsistent: only 2.4% of true claims")
    assert second == VERDICT_SENTENCES["inconsistent"]


def test_a_model_that_was_not_measured_on_claims_cannot_say(capsys, tmp_path, clip):
    model = write_tiny_bundle(tmp_path / "model", calibration=Calibration(PARAMETERS, TABLES, "test", {}))
    _, result = run_check(capsys, clip, model)
    assert result["verdict"] == "cannot say"
    assert "never measured on claims" in result["reason"]
    assert result["likelihood_ratio"] is None


def test_where_the_gate_refuses_every_frame_it_cannot_say(capsys, tmp_path, clip):
    model = model_with(tmp_path / "model", claims_at(1e6, -9e5), max_radius95_km=50.0)
    _, result = run_check(capsys, clip, model)
    assert (result["verdict"], result["statistic_nat"]) == ("cannot say", None)


def test_a_wider_circle_than_was_measured_cannot_be_judged(capsys, tmp_path, clip):
    model = model_with(tmp_path / "model", claims_at(1e6, -9e5))
    _, result = run_check(capsys, clip, model, "--claim", "10,20,400")
    assert result["verdict"] == "cannot say"
    assert "not of 400 km" in result["reason"]


def test_a_track_is_tested_with_its_times(capsys, tmp_path, clip):
    track = tmp_path / "claim.csv"
    track.write_text("media_time_s,lat,lon\n0,10,20\n4,11,21\n", encoding="utf-8")
    model = model_with(tmp_path / "model", claims_at(1e6, -9e5))
    _, result = run_check(capsys, clip, model, "--claim", track)
    assert result["claim"]["kind"] == "track"
    assert result["claim"]["alignment"] == "the truth gives media times"
    assert len(result["claim"]["sha256"]) == 64


def test_the_record_holds_the_check_and_the_hashes(capsys, tmp_path, clip):
    model = model_with(tmp_path / "model", claims_at(1e6, -9e5))
    record = tmp_path / "check.json"
    run_check(capsys, clip, model, "--report", record)
    written = json.loads(record.read_text("utf-8"))
    assert written["claim_check"]["verdict"] == "inconsistent"
    assert written["input"]["unchanged"] is True
    assert main(["check", str(clip), "--claim", "10,20", "--model", str(model), "--report", str(record)]) == 5


@pytest.mark.parametrize(
    ("claim", "code"), [("Lagos, Nigeria", 2), ("91,0", 2), ("0,0", 2), ("10,20,-5", 2), ("embedded", 3)]
)
def test_claims_that_are_none(capsys, tmp_path, clip, claim, code):
    model = model_with(tmp_path / "model", claims_at(1e6, -9e5))
    assert main(["check", str(clip), "--claim", claim, "--model", str(model)]) == code
    assert "vidtag: error:" in capsys.readouterr().err
