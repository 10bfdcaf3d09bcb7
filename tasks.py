import gc
import sys
from pathlib import Path

# A cached build is mostly start-up, and start-up is mostly imports. Invoke turns the byte-code
# cache off, so that every start would compile the whole library again; and the collector would
# look through all that was just imported, again and again (a tenth of the time).
sys.dont_write_bytecode = False
gc.set_threshold(50_000)

from buildlib.tasks import collection  # noqa: E402 - see above

namespace = collection(Path(__file__).parent)
