"""The table of docs/toolchains.md."""

from __future__ import annotations

from matrix import BEGIN, END, make_table, with_table

OLD = {"versions": {"buildx": "0.13.1"}, "passed": {"test_sbom": 2}, "failed": {"test_sbom": 0}}
NEW = {
    "versions": {"buildx": "0.38.2"},
    "passed": {"test_sbom": 1, "test_smoke": 3},
    "failed": {"test_sbom": 1, "test_smoke": 0},
}


def test_each_toolchain_is_a_column_and_each_file_a_row() -> None:
    assert make_table([OLD, NEW]) == (
        "| buildx | 0.13.1 | 0.38.2 |\n"
        "| --- | --- | --- |\n"
        "| `sbom` | 2 passed | 1 passed, 1 failed |\n"
        "| `smoke` | 0 passed | 3 passed |\n"
    )


def test_a_table_takes_the_place_of_the_one_before() -> None:
    first = with_table("# Docker versions\n\nText.\n", [OLD])
    assert first == f"# Docker versions\n\nText.\n\n{BEGIN}\n{make_table([OLD])}\n{END}"
    both = with_table(f"{first}\n## More\n", [OLD, NEW])
    assert both == f"{first}\n## More\n".replace(make_table([OLD]), make_table([OLD, NEW]))
