"""The answer for a clip in words and as JSON, and in every format that has a place for it."""

import dataclasses
import json

import pytest
from lxml import etree

from vidtag_cli.track import Answer, Area, FrameSpan, Track, TrackPoint
from vidtag_cli.writers.answer import answer_lines, answer_record, spans_text
from vidtag_cli.writers.formats import FORMATS, render_track

SPAN = FrameSpan(0, 75, 0.0, 3.0, 4)
HOME = Area(
    45.81234567, 15.9, 312_345.67, 0.62345678, "Croatia, Italy (Europe)", (SPAN, FrameSpan(100, 100, 4.0, 4.0, 1))
)
FAR = Area(-17.0, 179.9, 100_000.0, 0.004, "Fiji (Oceania)", ())
VIDEO = Answer((HOME, FAR), 0.1225, 0.25, (("too uncertain", 0.25),), 30, 7.5)
POINTS = (TrackPoint(0, 0.0, "ok", 45.8, 15.9, 1.0, 2.0, 0.5), TrackPoint(1, 1.0, "abstained", abstain_reason="x"))


def track(answer=VIDEO, shots=1):
    parts = tuple(dataclasses.replace(answer, shot=shot) for shot in range(shots))
    return Track("clip.mp4", POINTS, "model", answer=answer, shot_answers=parts)


def test_the_answer_in_words():
    assert answer_lines(track()) == (
        "Where was this filmed? By 30 frames, which count for 7.5:",
        "  1. 62 % Croatia, Italy (Europe), within 313 km of 45.812, 15.900; 5 frames at 0.0-3.0 s, 4.0 s",
        "  2. < 1 % Fiji (Oceania), within 100 km of -17.000, 179.900; no frame's first place",
        "  elsewhere 12 %; cannot say 25 %: too uncertain (25 %)",
    )
    assert answer_lines(dataclasses.replace(track(), answer=None)) == ()


def test_several_shots_have_answers_of_their_own():
    lines = answer_lines(track(shots=2))
    assert [line for line in lines if not line.startswith(" ")] == [
        "Where was this filmed? By 30 frames, which count for 7.5:",
        "Shot 0, by 30 frames, which count for 7.5:",
        "Shot 1, by 30 frames, which count for 7.5:",
    ]


def test_silence_is_an_answer():
    silent = Answer((), 0.0, 1.0, (("frames disagree", 0.6), ("too uncertain", 0.4)), 1, 1.0)
    assert answer_lines(track(silent)) == (
        "Where was this filmed? By 1 frame:",
        "  cannot say 100 %: frames disagree (60 %), too uncertain (40 %)",
    )


def test_of_many_spans_the_longest_are_said_in_order_of_time():
    spans = tuple(FrameSpan(10 * n, 10 * n + n, float(10 * n), float(10 * n + n), n + 1) for n in range(6))
    assert spans_text(spans) == "21 frames at 20.0-22.0 s, 30.0-33.0 s, 40.0-44.0 s, 50.0-55.0 s, and more"


def test_the_record_has_every_share():
    record = answer_record(track())
    video = record["video"]
    assert [area["share"] for area in video["areas"]] == [0.6235, 0.004]
    assert (video["elsewhere"], video["cannot_say"], video["reasons"]) == (0.1225, 0.25, {"too uncertain": 0.25})
    assert video["areas"][0]["frames"][0] == {
        "first": 0, "last": 75, "first_media_time_s": 0.0, "last_media_time_s": 3.0, "frames": 4,
    }  # fmt: skip
    assert (video["areas"][0]["radius95_m"], video["areas"][0]["lat"]) == (312345.7, 45.812346)
    assert [shot["shot"] for shot in record["shots"]] == [0] and "shot" not in video
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("format_name", ["gpx", "kml", "geojson"])
@pytest.mark.parametrize("points", [POINTS, POINTS[:1], POINTS[1:], ()])
def test_every_format_but_csv_holds_it(format_name, points):
    text = render_track(dataclasses.replace(track(), points=points), FORMATS[format_name]).decode()
    assert "Croatia, Italy (Europe)" in text and "too uncertain" in text
    if format_name == "geojson":
        document = json.loads(text)
        assert document["vidtag"]["answer"] == answer_record(track())
        assert len(document["features"]) == len(points)
    else:
        etree.fromstring(text.encode())


def test_areas_are_a_folder_of_circles_in_kml():
    root = etree.fromstring(render_track(track(), FORMATS["kml"]))
    namespace = {"k": "http://www.opengis.net/kml/2.2"}
    (folder,) = root.xpath("//k:Folder[k:name='Answer']", namespaces=namespace)
    assert folder.xpath("k:Placemark/k:name/text()", namespaces=namespace) == [
        "62 % Croatia, Italy (Europe)", "< 1 % Fiji (Oceania)"
    ]  # fmt: skip
    assert len(folder.xpath("k:Placemark[1]//k:Polygon", namespaces=namespace)) == 1
    assert len(folder.xpath("k:Placemark[2]//k:Polygon", namespaces=namespace)) == 2  # cut at 180 degrees
