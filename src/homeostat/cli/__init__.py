"""The command line, `homeostat`, and what documentation makes of its results.

`markdown_table` and `fill_tables` need more than the command's first line does, so they are imported on first use.
"""

from typing import TYPE_CHECKING, Any

from ._main import main as main

if TYPE_CHECKING:
    from ._results import fill_tables as fill_tables, markdown_table as markdown_table, merge_results as merge_results

__all__ = ["fill_tables", "main", "markdown_table", "merge_results"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _results

    return getattr(_results, name)
