"""Has a scanner look for known vulnerabilities in the image."""
