"""A build: from a request to an image."""
