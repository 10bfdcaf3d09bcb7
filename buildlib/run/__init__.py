"""Runs the image: which engine, which socket, which data, and one container."""
