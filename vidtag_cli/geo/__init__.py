"""Geometry of the sphere: every formula once, right across the antimeridian and at the poles."""
