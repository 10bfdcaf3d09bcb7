"""Signs an image by its digest, and verifies it as a stranger would; cosign does the work."""
