"""File formats: a track becomes GPX, KML, GeoJSON or CSV, a run becomes a report, and both arrive whole or not at
all.
"""
