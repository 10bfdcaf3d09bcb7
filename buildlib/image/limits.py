"""How much is read of an image that somebody else may have made; more than that exits with code 2.

Each limit is well above what real images have and what engines take, and low enough that reading a
small archive can neither fill the memory nor go on for ever. docs/policy.md has them for people.
"""

from __future__ import annotations

from typing import Final

# Of an index, a manifest or a configuration, in bytes; registries take as many.
LARGEST_DOCUMENT: Final = 4 << 20
# Entries of the archive itself, one for each blob.
MOST_BLOBS: Final = 100_000
# In all indexes together, and how deep they may be nested.
MOST_MANIFESTS: Final = 1000
DEEPEST_INDEX: Final = 16
MOST_LAYERS: Final = 1000
# Of all layers of an image together: entries, and the bytes of their names and link targets.
MOST_ENTRIES: Final = 1_000_000
MOST_NAMES: Final = 256 << 20
# Of a layer when it is unpacked, in bytes.
LARGEST_LAYER: Final = 64 << 30
# The longest that Linux accepts: a path or a link's target, and each name in a path; bytes.
LONGEST_PATH: Final = 4095
LONGEST_NAME: Final = 255
# Extended attributes of a file; the kernel takes no more than fit into 64 KiB.
MOST_ATTRIBUTES: Final = 1000
# Names in the paths that are looked up while a layer is unpacked.
MOST_STEPS: Final = 50_000_000
# A long name, pax records, or a sparse map in a tar, in bytes; the limit of Go's archive/tar.
LARGEST_SPECIAL: Final = 1 << 20
# Of a sparse file, holes included.
LARGEST_SPARSE: Final = 64 << 30
