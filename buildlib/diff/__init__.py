"""What changed between two images, and what of it a release refuses."""
