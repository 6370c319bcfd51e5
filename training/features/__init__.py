"""Backbone features of a data set, computed once, kept in shards and memory-mapped: what both phases train from.

A folder holds ``clips.json``, ``latlon_deg.npy``, ``time_s.npy`` and ``offsets.npy`` (what is encoded, known before the
first frame is read), ``features-NNNNN.f16`` (rows of float16, frame after frame), ``journal.jsonl`` (how many rows are
safely there) and ``cache.json`` (the identity). Rows after the last line of the journal do not exist for a reader, so a
process killed at any moment leaves no torn row behind and loses at most the batch it was at.
"""
