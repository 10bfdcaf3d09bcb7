"""Base images: what the Dockerfile stands on, whether it is still current, and its pins."""
