import sys
from pathlib import Path

# Invoke turns the byte-code cache off, so every start would compile the whole library again.
sys.dont_write_bytecode = False

from buildlib.tasks import collection  # noqa: E402 - see above

namespace = collection(Path(__file__).parent, complete=True)
