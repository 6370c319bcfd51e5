"""Classification baselines (docs/method.md 2.12, paper appendix F.2-F.3): cells of the Earth as classes, three kinds of
heads.

All learn from cached backbone features and answer with the centre of the most probable cell.
"""
