"""Dockerfiles and what keeps files out of a build."""
