"""Runs: a folder with what was asked for, finished stages, records, and a report with a result.

`RunContext` is what an experiment or a fit is given; `execute` takes a run from its request to its result. Claims and the
parts of an experiment are light; whatever computes is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._claims import (
    AbstractRelation as AbstractRelation,
    AtLeast as AtLeast,
    AtMost as AtMost,
    Between as Between,
    Claim as Claim,
    relation as relation,
)
from ._experiment import (
    Experiment as Experiment,
    ExperimentConfig as ExperimentConfig,
    Minutes as Minutes,
    ProtocolError as ProtocolError,
    RunFunction as RunFunction,
    Scale as Scale,
)
from ._terminal import AbstractBar as AbstractBar, AbstractTerminal as AbstractTerminal

if TYPE_CHECKING:
    from ._context import RunContext as RunContext, experiment_key as experiment_key
    from ._execute import execute as execute, exit_status as exit_status
    from ._folder import (
        Request as Request,
        RunFolder as RunFolder,
        config_json as config_json,
        default_folder as default_folder,
        erase_if_nothing_done as erase_if_nothing_done,
        existing_run as existing_run,
        new_run as new_run,
        read_ledger as read_ledger,
        read_request as read_request,
        read_result as read_result,
    )
    from ._images import encode_gif as encode_gif, encode_png as encode_png
    from ._interrupts import Interrupts as Interrupts
    from ._machine import (
        compilation_cache as compilation_cache,
        machine as machine,
        quiet_runtime as quiet_runtime,
        quiet_store as quiet_store,
        version as version,
        versions as versions,
    )
    from ._report import combine_reports as combine_reports, flatten as flatten, write_report as write_report
    from ._results import (
        fill_tables as fill_tables,
        markdown_table as markdown_table,
        merge_results as merge_results,
        write_results as write_results,
    )
    from ._summary import number as number, summary_rows as summary_rows

_HOME = {
    "Interrupts": "_interrupts",
    "Request": "_folder",
    "RunContext": "_context",
    "RunFolder": "_folder",
    "combine_reports": "_report",
    "compilation_cache": "_machine",
    "config_json": "_folder",
    "default_folder": "_folder",
    "encode_gif": "_images",
    "encode_png": "_images",
    "erase_if_nothing_done": "_folder",
    "execute": "_execute",
    "existing_run": "_folder",
    "exit_status": "_execute",
    "experiment_key": "_context",
    "fill_tables": "_results",
    "flatten": "_report",
    "machine": "_machine",
    "markdown_table": "_results",
    "merge_results": "_results",
    "new_run": "_folder",
    "number": "_summary",
    "quiet_runtime": "_machine",
    "quiet_store": "_machine",
    "read_ledger": "_folder",
    "read_request": "_folder",
    "read_result": "_folder",
    "summary_rows": "_summary",
    "version": "_machine",
    "versions": "_machine",
    "write_report": "_report",
    "write_results": "_results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
