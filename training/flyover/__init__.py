"""Flyover (docs/method.md 5): a synthetic camera looking straight down on real imagery of the real Earth."""
