"""Readers and writers, one file a family of formats: `read`, `read_geometry`, `write`."""
