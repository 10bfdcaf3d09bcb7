"""Builders that a project describes: made, looked at and removed with buildx."""
