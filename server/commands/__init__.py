"""The commands of `tierra`, one module a subject."""
