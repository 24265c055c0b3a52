"""Handlers of our own, one module a standard; every other path goes to pygeoapi."""
