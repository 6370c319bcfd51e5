"""Judging trained models on whole data sets: predictions files, metrics with intervals, the paper's tables, figures.

Nothing here knows a network: a model comes in as a ``Predictor`` and leaves its predictions in a file; tables and
figures are made from such files alone.
"""
