"""Smoke: the image is started on each platform, and asked what a user would ask."""
