"""Whole tables of ablations and baselines on flyover, from the features that one run cached.

A row is configuration (``flyover.toml``): what it changes of the preset and which parts it has. Rows whose training is
the same share it, because trained weights lie in folders named after all that decides about them.
"""
