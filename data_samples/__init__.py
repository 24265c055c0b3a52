"""Generates the sample province: a fictional, bilingual dataset that shows every rule of the policy."""

from data_samples.package import generate
from data_samples.planted import Canaries, canaries

__all__ = ["Canaries", "canaries", "generate"]
