from __future__ import annotations

from vidtag_cli.video.decoder_log import DecoderLog


def test_lines_cut_anywhere_are_put_together() -> None:
    log = DecoderLog()
    for piece in (b"[h264 @ 0x55", b"d0aF] bad\r\n\nsec", b"ond"):
        log.add_output(piece)
    log.finish()
    assert log.lines == ("[h264] bad", "second")
    assert log.error_count == 2


def test_keeps_the_first_and_the_last_and_counts_all() -> None:
    log = DecoderLog()
    log.add_output(b"".join(b"line %d\n" % number for number in range(1000)))
    assert log.error_count == 1000
    assert log.lines == tuple(f"line {number}" for number in (*range(20), *range(980, 1000)))


def test_a_line_without_end_takes_no_memory() -> None:
    log = DecoderLog()
    for _ in range(100):
        log.add_output(b"x" * 10_000)
    log.finish()
    assert log.error_count == 1
    assert len(log.lines[0]) == 500


def test_frames_that_go_back_in_time_are_one_line() -> None:
    log = DecoderLog()
    for pts in (0, 10, 10, 5, None, 11):
        log.add_frame(pts)
    log.finish()
    assert log.frames_decoded == 6
    assert log.error_count == 1
    assert log.lines[0].startswith("3 decoded frames")


def test_the_muxer_of_the_raw_frames_is_not_listened_to() -> None:
    log = DecoderLog()
    log.add_output(
        b"[rawvideo @ 0x1] Application provided invalid, non monotonically increasing dts to muxer: 8 >= 8\n"
    )
    assert log.error_count == 0
