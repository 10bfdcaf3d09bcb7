"""A release: built once, checked, pushed by digest, signed, verified, and tagged last.

In the order of reading: `plan` decides what happens, and `dry_run` prints it; `publisher` runs the
steps, which are `gates`, `provenance` with `attestations`, `signing`, and `tagger`; `progress`
records each step in the `receipt`, and `report` prints it. `rollback` moves tags back.
"""
