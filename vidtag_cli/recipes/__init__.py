"""Models made on the user's machine from published weights: what is fetched, and how a bundle comes of it."""
