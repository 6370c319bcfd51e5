"""Runs on data sets on disk: train, predict, classify, benchmark, and the folder that a run leaves behind."""
