"""Is an exported graph what it was in torch? Cases, the reference, runners, the report and its limits."""
