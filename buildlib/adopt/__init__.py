"""How a repository begins to use buildlib: what is found in it, and the files that are written."""
