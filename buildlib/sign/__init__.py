"""Signs images by digest, and verifies them as a third party would, with cosign."""
