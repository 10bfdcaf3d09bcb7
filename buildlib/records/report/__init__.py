"""Reports of builds: a page, a summary and a trace, made from records."""
