"""Comparing many runs: what the papers printed, and what the differences are worth."""
