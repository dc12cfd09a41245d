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
from ._experiment import Experiment as Experiment, Minutes as Minutes, ProtocolError as ProtocolError, Scale as Scale
from ._machine import (
    compilation_cache as compilation_cache,
    precision as precision,
    quiet_runtime as quiet_runtime,
    version as version,
)
from ._summary import number as number, summary_rows as summary_rows
from ._terminal import AbstractBar as AbstractBar, AbstractTerminal as AbstractTerminal, Interrupts as Interrupts

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
        read_request as read_request,
        read_result as read_result,
    )
    from ._images import encode_gif as encode_gif, encode_png as encode_png
    from ._report import claim_rows as claim_rows, combine_reports as combine_reports, write_report as write_report
    from ._results import (
        compare_runs as compare_runs,
        fill_tables as fill_tables,
        markdown_table as markdown_table,
        write_results as write_results,
    )

_NAMES = {
    "_context": "RunContext experiment_key",
    "_execute": "execute exit_status",
    "_folder": "Request RunFolder config_json default_folder erase_if_nothing_done existing_run new_run read_request "
    "read_result",
    "_images": "encode_gif encode_png",
    "_report": "claim_rows combine_reports write_report",
    "_results": "compare_runs fill_tables markdown_table write_results",
}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
