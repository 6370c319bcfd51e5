"""The central loop: every estimate is of its own frame, and of numbers that are numbers."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_bundle import EMBEDDING_DIM, FEATURE_DIM, FRAME_SIZE_PX, write_tiny_bundle

from vidtag_cli.engines.tensors import check_outputs
from vidtag_cli.errors import ModelError, VideoError
from vidtag_cli.pipeline import locate
from vidtag_cli.pipeline.limitations import ONE_SHOT
from vidtag_cli.pipeline.locate import (
    FRAMES_SEARCHED_AT_ONCE,
    LocateOptions,
    embed_frames,
    locate_video,
    open_decoder,
    run_windows,
    sampling_rate_fps,
    single_frames,
)
from vidtag_cli.pipeline.session import open_session
from vidtag_cli.pipeline.uncertainty import unit_rows
from vidtag_cli.pipeline.windows import EncodedFrames, gather_frames
from vidtag_cli.track import TimeBasis
from vidtag_cli.video.batches import FrameFacts
from vidtag_cli.video.borders import NO_BORDERS, BorderReport
from vidtag_cli.video.decode import Frame
from vidtag_cli.video.decode_report import DecodeReport


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return open_session(write_tiny_bundle(tmp_path_factory.mktemp("model")))


@pytest.fixture(autouse=True)
def video_without_a_file(monkeypatch):
    monkeypatch.setattr(locate, "settle_borders", lambda *args: BorderReport())


class Engine:
    """Stands for an engine and gives what a function makes of its inputs."""

    def __init__(self, run):
        self.run = run

    def describe(self):
        return {}


def with_engines(session, **runs):
    engines = {name: Engine(run) for name, run in runs.items()}
    return dataclasses.replace(session, engines={**session.engines, **engines})


class Decoder:
    """Stands for a decoder: so many frames a second apart, whose pixels differ the more the higher their number."""

    errors = ()
    report = DecodeReport(0, 0, None, None, ())

    def __init__(self, frames):
        self._frames = frames

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def close(self):
        pass

    def __iter__(self):
        for number in range(self._frames):
            rgb = np.full((FRAME_SIZE_PX, FRAME_SIZE_PX, 3), (9, 5, 1), np.uint8)
            rgb[:4] += np.uint8(number)  # every third row, of which two of three are in it
            yield Frame(number, 0.5 + number, rgb, 10 * number, number // 50)


def test_every_estimate_is_of_its_own_frame_however_many_searches_there_are(session, monkeypatch):
    """More than two searches, the last of them short, over frames of which each has facts of its own."""
    count = 2 * FRAMES_SEARCHED_AT_ONCE + 7
    monkeypatch.setattr(locate, "open_decoder", lambda *args: Decoder(count))
    monkeypatch.setattr(locate, "frame_batches", keep_facts := FactsKept())
    seen = []
    estimate = locate.estimate_points

    def spy(session, embedded, top_k):
        seen.append([facts.spread_levels for facts in embedded.facts])
        return estimate(session, embedded, top_k)

    monkeypatch.setattr(locate, "estimate_points", spy)
    points = locate_video(VIDEO, session, LocateOptions()).track.points
    assert [point.frame_index for point in points] == [10 * number for number in range(count)]
    assert [point.media_time_s for point in points] == [0.5 + number for number in range(count)]
    assert [point.shot for point in points] == [number // 50 for number in range(count)]
    assert [len(part) for part in seen] == [FRAMES_SEARCHED_AT_ONCE, FRAMES_SEARCHED_AT_ONCE, 7]
    assert sum(seen, []) == [facts.spread_levels for facts in keep_facts.facts]
    blank = [point.frame_index for point in points if (point.abstain_reason or "").startswith("blank")]
    assert blank == [10 * number for number in range(count) if keep_facts.facts[number].spread_levels < 2.0]
    assert len(blank) == 5


VIDEO = dataclasses.make_dataclass("Video", ["path", "container_format"])(Path("folder/clip.mp4"), "mov")


def located(session, monkeypatch, options, count=70, **kwargs):
    monkeypatch.setattr(locate, "open_decoder", lambda *args: Decoder(count))
    return locate_video(VIDEO, session, options, **kwargs)


def test_progress_is_told_after_every_search(session, monkeypatch):
    done_s = []
    located(session, monkeypatch, LocateOptions(), progress=done_s.append)
    assert done_s == [FRAMES_SEARCHED_AT_ONCE - 0.5, 69.5]


def test_a_track_is_smoothed_where_that_was_asked_for(session, monkeypatch):
    smooth = LocateOptions(smooth="viterbi", max_speed_km_h=77.0)
    assert located(session, monkeypatch, LocateOptions()).track.smoothing == "none"
    track = located(session, monkeypatch, smooth).track
    assert track.smoothing == "viterbi (at most 77 km/h)"
    assert len(track.points) == 70


def test_a_track_says_what_it_is_of_and_what_it_does_not_mean(session, monkeypatch):
    basis = TimeBasis("user")
    result = located(session, monkeypatch, LocateOptions(shots="whole"), time_basis=basis)
    assert (result.track.name, result.track.model_name, result.track.time_basis) == ("clip.mp4", "tiny", basis)
    assert ONE_SHOT in result.track.limitations
    split = located(session, monkeypatch, LocateOptions())
    assert split.track.time_basis == TimeBasis()
    assert ONE_SHOT not in split.track.limitations
    assert not any("lie farther apart" in text for text in split.track.limitations)
    monkeypatch.setattr(locate, "is_sparse", lambda times_s, step_s: len(times_s) == 70 and step_s == 1.0)
    assert any("lie farther apart" in text for text in located(session, monkeypatch, LocateOptions()).track.limitations)


@pytest.mark.parametrize(("options", "sampling_fps"), [
    (LocateOptions(), 1.0), (LocateOptions(sampling_fps=2.5), 2.5), (LocateOptions(all_frames=True), None),
    (LocateOptions(all_frames=True, sampling_fps=2.5), None),
])  # fmt: skip
def test_frames_are_sampled_as_asked_or_as_the_model_wants_them(session, monkeypatch, options, sampling_fps):
    assert sampling_rate_fps(session, options) == sampling_fps
    assert located(session, monkeypatch, options, count=3).sampling_fps == sampling_fps


@pytest.mark.parametrize("shots", ["split", "whole"])
def test_the_decoder_gives_what_the_model_wants(session, monkeypatch, shots):
    given = {}

    def decoder(path, video, size_wh, sampling_fps, **kwargs):
        given.update(kwargs, path=path, size_wh=size_wh, sampling_fps=sampling_fps)

    monkeypatch.setattr(locate, "VideoDecoder", decoder)
    options = LocateOptions(
        sampling_fps=3.0, batch_frames=7, decoder_threads=2, decode_mode="fast", decode_device="cuda:1", shots=shots
    )
    open_decoder(VIDEO, session, options)
    assert given == {
        "path": VIDEO.path, "size_wh": (FRAME_SIZE_PX, FRAME_SIZE_PX), "sampling_fps": 3.0, "resize": "squash",
        "threads": 2, "mode": "fast", "device": "cuda:1", "block_frames": 7, "find_cuts": shots == "split",
        "limits": options.limits, "borders": NO_BORDERS,
    }  # fmt: skip


def test_an_incomplete_input_is_said_and_strict_refuses_it(session, monkeypatch):
    monkeypatch.setattr(Decoder, "report", DecodeReport(0, 0, None, None, ("the end is missing",)))
    result = located(session, monkeypatch, LocateOptions(), count=3)
    assert result.decoded.missing == ("the end is missing",)
    assert "The input is incomplete or damaged (the end is missing)" in " ".join(result.track.limitations)
    with pytest.raises(VideoError, match=r"clip\.mp4: incomplete or damaged \(the end is missing\)"):
        located(session, monkeypatch, LocateOptions(strict=True), count=3)


def test_single_frames_are_their_own_last_word():
    embedding = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    opened = SimpleNamespace(bundle=SimpleNamespace(embedding_dim=4))
    outputs = single_frames(opened, embedding)
    assert outputs["first_embedding"] is outputs["refined_embedding"]
    assert (outputs["first_embedding"] == embedding).all()
    assert not outputs["domain_distance"].any() and not outputs["disagreement_km"].any()
    assert outputs["domain_distance"].shape == outputs["disagreement_km"].shape == (3,)


def test_single_frames_say_how_far_their_places_move_in_changed_copies():
    places = np.array([[0.0, 0.0], [0.0, 90.0], [0.0, 10.0]])
    corners = np.eye(3, 4, dtype=np.float16)  # the embedding of each place
    gallery = SimpleNamespace(latlon_deg=places)
    opened = SimpleNamespace(bundle=SimpleNamespace(embedding_dim=4), own_gallery=gallery)
    found = {"frames": [0, 0, 1], "mirrored": [0, 2, 1], "cropped": [0, 1, 1]}
    columns = np.concatenate([corners[rows].astype(np.float32) for rows in found.values()], axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locate, "search_gallery", lambda _, queries, k: (None, queries.argmax(1)[:, None]))
        moved_km = single_frames(opened, columns)["moved_km"]
    quarter_km = 6371.0088 * np.pi / 2
    np.testing.assert_allclose(moved_km, [0.0, quarter_km, 0.0], rtol=1e-5)


def test_a_model_without_a_domain_is_never_outside_it(session):
    features = np.ones((1, 4, FEATURE_DIM), np.float32)
    outputs = run_windows(dataclasses.replace(session, domain=None), features)
    assert outputs["domain_distance"].tolist() == [[0.0] * 4]


class FactsKept:
    """``frame_batches`` that remembers what it said of the frames."""

    def __init__(self):
        self.facts = []
        self._batches = locate.frame_batches

    def __call__(self, frames, size):
        for batch in self._batches(frames, size):
            self.facts += batch.facts
            yield batch


def test_the_domain_distance_is_the_windows_median_for_all_its_frames(session):
    features = np.random.default_rng(0).normal(size=(2, 5, FEATURE_DIM)).astype(np.float32)
    features[0, 1] *= 50  # one strange frame among five
    features[1, :3] *= 50
    outputs = run_windows(session, features)
    distance = session.domain.distance(features.reshape(10, FEATURE_DIM)).reshape(2, 5)
    np.testing.assert_array_equal(outputs["domain_distance"], np.median(distance, axis=1)[:, None].repeat(5, axis=1))
    assert len(np.unique(distance[0])) == 5


def test_the_second_search_looks_at_the_places_of_the_first(session):
    """Frames that point at a gallery place get that place's own embedding handed to GeoRefiner."""
    gallery, given = session.gallery, {}
    pointing = np.asarray(gallery.embeddings[:3], np.float32)[None]

    def refine(inputs):
        given.update(inputs)
        return {"refined_embedding": inputs["location_embedding"]}

    opened = with_engines(
        session,
        tempgeo=lambda inputs: {"refined_features": inputs["frame_features"], "frame_embedding": pointing},
        georefiner=refine,
    )
    features = np.random.default_rng(1).normal(size=(1, 3, FEATURE_DIM)).astype(np.float32)
    outputs = run_windows(opened, features)
    np.testing.assert_array_equal(given["location_embedding"], pointing)
    np.testing.assert_array_equal(given["refined_features"], features)
    np.testing.assert_array_equal(outputs["first_embedding"], pointing)
    np.testing.assert_array_equal(outputs["refined_embedding"], pointing)
    assert np.isinf(outputs["disagreement_km"]).all()  # three frames cannot confirm each other


def encoded(features):
    facts = tuple(FrameFacts(number, float(number), 0, 50.0) for number in range(len(features)))
    return [EncodedFrames(facts, features)]


def test_windows_that_cancel_each_other_out_are_no_answer(session):
    """Two windows say the opposite of the frames that both see: a direction of rounding errors is not searched."""
    frames = session.bundle.window.frames + session.bundle.window.overlap_frames
    place = np.asarray(session.gallery.embeddings[0], np.float32)

    def attend(inputs):
        windows, length, _ = inputs["frame_features"].shape
        signs = np.where(inputs["frame_features"][:, 0, 0] > 0, 1.0, -1.0)
        embedding = np.broadcast_to(place, (windows, length, EMBEDDING_DIM)) * signs[:, None, None]
        return {"refined_features": inputs["frame_features"], "frame_embedding": embedding.astype(np.float32)}

    opened = with_engines(
        session,
        tempgeo=attend,
        georefiner=lambda inputs: {
            "refined_embedding": attend({"frame_features": inputs["refined_features"]})["frame_embedding"]
        },
    )
    features = np.ones((frames, FEATURE_DIM), np.float32)
    features[session.bundle.window.overlap_frames :] = -1.0
    (part,) = gather_frames(embed_frames(opened, encoded(features)), 1000)
    _, lengths = unit_rows(part.outputs["refined_embedding"])
    assert lengths.min() < 0.2 < 0.9 < lengths.max()
    silenced = part.outputs["refined_embedding"].copy()
    silenced[3], silenced[4], silenced[5] = 0.0, np.nan, np.inf
    broken = dataclasses.replace(part, outputs={**part.outputs, "refined_embedding": silenced})
    points = locate.estimate_points(opened, broken, 5)
    assert [point.status for point in points[3:6]] == ["abstained"] * 3
    assert all(point.abstain_reason.startswith("no answer of the model") for point in points[3:6])


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("graph", ["dual_encoder", "tempgeo", "georefiner", "location_encoder"])
def test_a_graph_that_gives_no_numbers_or_nothing_at_all_is_named(session, graph, spoilt):
    """Every engine hands its outputs to this one check."""
    for tensor in session.bundle.graphs[graph].outputs:
        outputs = {
            out.name: np.ones([size if isinstance(size, int) else 3 for size in out.shape], np.float32)
            for out in session.bundle.graphs[graph].outputs
        }
        check_outputs(graph, session.bundle.graphs[graph].outputs, outputs, {})
        outputs[tensor.name][:] = spoilt
        with pytest.raises(ModelError, match=rf"{graph}: output {tensor.name}: .*(not finite|zero)"):
            check_outputs(graph, session.bundle.graphs[graph].outputs, outputs, {})


def test_one_embedding_of_zeros_among_many_is_seen(session):
    contract = session.bundle.graphs["location_encoder"].outputs
    outputs = {"location_embedding": np.ones((7, EMBEDDING_DIM), np.float32)}
    outputs["location_embedding"][4] = 0.0
    with pytest.raises(ModelError, match="location_embedding: 1 of 7 vectors are zero"):
        check_outputs("location_encoder", contract, outputs, {})
