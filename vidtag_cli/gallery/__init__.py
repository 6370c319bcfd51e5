"""The places a search can answer with: their coordinates, embeddings and coverage."""
