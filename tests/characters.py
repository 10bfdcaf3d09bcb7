"""Characters for Hypothesis, which by default tries in each process which ones UTF-8 encodes."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

ASCII: Final = st.characters(max_codepoint=127)
# Those of the default: all but surrogates.
ANY: Final = st.characters(exclude_categories=["Cs"])
