"""The answer for a video and its shots, in words and as a JSON object, the same in every output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidtag_cli.track import Answer, Area, FrameSpan, Track
from vidtag_cli.writers.values import (
    CONFIDENCE_DECIMALS,
    COORDINATE_DECIMALS,
    MEDIA_TIME_DECIMALS,
    RADIUS_DECIMALS,
    size_text,
)

QUESTION = "Where was this filmed?"

MOST_SPANS_SAID = 4


def answer_record(track: Track) -> dict[str, Any] | None:
    """Return the answers of a track as a JSON object, or None for a track that was never asked."""
    if track.answer is None:
        return None
    return {"video": _record(track.answer), "shots": [_record(answer) for answer in track.shot_answers]}


def _record(answer: Answer) -> dict[str, Any]:
    shot = {} if answer.shot is None else {"shot": answer.shot}
    return {
        **shot,
        "areas": [_area_record(area) for area in answer.areas],
        "elsewhere": round(answer.elsewhere, CONFIDENCE_DECIMALS),
        "cannot_say": round(answer.cannot_say, CONFIDENCE_DECIMALS),
        "reasons": {kind: round(share, CONFIDENCE_DECIMALS) for kind, share in answer.reasons},
        "frames": answer.frames,
        "frames_counted": round(answer.counted, CONFIDENCE_DECIMALS),
    }


def _area_record(area: Area) -> dict[str, Any]:
    return {
        "share": round(area.share, CONFIDENCE_DECIMALS),
        "lat": round(area.lat_deg, COORDINATE_DECIMALS),
        "lon": round(area.lon_deg, COORDINATE_DECIMALS),
        "radius95_m": round(area.radius95_m, RADIUS_DECIMALS),
        "place": area.place,
        "frames": [
            {
                "first": span.first_frame, "last": span.last_frame,
                "first_media_time_s": round(span.first_media_time_s, MEDIA_TIME_DECIMALS),
                "last_media_time_s": round(span.last_media_time_s, MEDIA_TIME_DECIMALS),
                "frames": span.frames,
            }
            for span in area.spans
        ],
    }  # fmt: skip


def answer_lines(track: Track) -> tuple[str, ...]:
    """Return the answer in lines for people, that of each shot below it where there are several; none if not asked."""
    if track.answer is None:
        return ()
    lines = _lines(f"{QUESTION} By", track.answer)
    if len(track.shot_answers) > 1:
        for answer in track.shot_answers:
            lines += _lines(f"Shot {answer.shot}, by", answer)
    return tuple(lines)


def _lines(beginning: str, answer: Answer) -> list[str]:
    repeated = "" if answer.counted > answer.frames - 0.05 else f", which count for {answer.counted:.1f}"
    rest = []
    if answer.elsewhere > 0.0:
        rest.append(f"elsewhere {percent_text(answer.elsewhere)}")
    if answer.cannot_say > 0.0:
        reasons = ", ".join(f"{kind} ({percent_text(share)})" for kind, share in answer.reasons)
        rest.append(f"cannot say {percent_text(answer.cannot_say)}: {reasons}")
    return [
        f"{beginning} {_frames_text(answer.frames)}{repeated}:",
        *(f"  {number}. {area_text(area)}" for number, area in enumerate(answer.areas, 1)),
        *([f"  {'; '.join(rest)}"] if rest else []),
    ]  # fmt: skip


def area_text(area: Area) -> str:
    """Return an area in one line: its share, place, circle and the frames that speak for it."""
    return (
        f"{percent_text(area.share)} {area.place}, within {size_text(area.radius95_m)} of {area.lat_deg:.3f}, "
        f"{area.lon_deg:.3f}; {spans_text(area.spans)}"
    )


def spans_text(spans: Sequence[FrameSpan]) -> str:
    """Return which frames and times, the longest spans of many."""
    if not spans:
        return "no frame's first place"
    frames = sum(span.frames for span in spans)
    longest = sorted(sorted(spans, key=lambda span: -span.frames)[:MOST_SPANS_SAID], key=lambda span: span.first_frame)
    texts = [
        f"{span.first_media_time_s:.1f} s"
        if span.frames == 1
        else f"{span.first_media_time_s:.1f}-{span.last_media_time_s:.1f} s"
        for span in longest
    ]
    more = ", and more" if len(spans) > len(longest) else ""
    return f"{_frames_text(frames)} at {', '.join(texts)}{more}"


def _frames_text(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def percent_text(share: float) -> str:
    """Return a share in whole per cent, never none of what there is."""
    return "< 1 %" if 0.0 < share < 0.005 else f"{100.0 * share:.0f} %"
