"""Answers HTTP: who is calling, what the policy grants, and which pygeoapi API answers. No SQL, no raster, no geometry."""
