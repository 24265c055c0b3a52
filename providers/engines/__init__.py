"""The storage behind a provider, one module an engine."""
