"""From a video to a track: where decoding, engines, galleries and writers meet."""
