"""Records of builds: what ran, of which inputs, and why."""
