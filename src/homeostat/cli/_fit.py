"""`homeostat fit`."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, final, get_args

from tyro.conf import arg

from ..runs import version
from ..workflow import RowsOptions, SequencesOptions
from ._options import (
    AbstractNewRunOptions,
    Session,
    bad_input,
    option_names,
    print_in_groups,
    read_options,
    unknown_option,
)
from ._run import execute, start_run
from ._terminal import reserved_output

DATA = (
    "a table (.csv, .tsv, .txt, .parquet, .arrow, .feather) of rows, or of steps with columns of sequences or times; rows also as "
    ".npy, .npz (FILE.npz:NAME if it holds several arrays), or a folder of images; sequences also as .npz with lengths or mask, "
    ".wav, .mid, .mp4, .gif, or a folder of such files"
)
_COMMAND = "homeostat fit"
_GROUPS = {
    "data": (
        "data",
        "task",
        "columns",
        "drop",
        "label",
        "sequence_column",
        "time_column",
        "day_first",
        "action_columns",
    ),
    "model": (
        "model",
        "engine",
        "states",
        "latents",
        "trend",
        "season",
        "harmonics",
        "autoregression",
        "likelihood",
        "posterior",
        "mapping",
        "width",
        "depth",
        "memory",
    ),
    "run": ("out", "seed", "json"),
    "training": (
        "steps",
        "batch_size",
        "learning_rate",
        "validation_fraction",
        "patience",
        "validate_every",
        "standardize",
        "beta",
        "anneal",
        "piece",
    ),
    "inference": (
        "iterations",
        "samples",
        "pasts",
        "encoding",
        "encode_data",
        "update",
        "inference_rate",
        "evaluation_rows",
        "evaluation_samples",
    ),
}
"""Options of every day first in help; what is not named here comes last."""
_DEFAULTS: dict[str, Any] = {"rows": RowsOptions(), "sequences": SequencesOptions()}


@final
@dataclass(frozen=True, kw_only=True)
class FitOptions(AbstractNewRunOptions):
    """Fit a generative model with its inference to data, and keep it as a run."""

    data: Annotated[str, arg(help=DATA)] = ""
    task: Literal["rows", "sequences"] | None = None
    """What the data are; by default that of --model, or what the file says of itself."""


@final
@dataclass(frozen=True, kw_only=True)
class _Hints:
    """Options that tell what the data are, though they belong to the model."""

    model: str = ""
    trend: str = ""
    season: str = ""
    sequence_column: str | None = None
    time_column: str | None = None
    drop: str = ""
    label: str = ""


class FitRequest(NamedTuple):
    """Our own options, the task, and the options of its model."""

    own: FitOptions
    task: str
    options: Any


def fit_command(arguments: list[str], session: Session) -> int:
    """Fit in a new run folder."""
    asked = read_fit_options(arguments)
    if asked is None:
        return 0
    own, task, options = asked
    session.terminal.say(f"homeostat {version()}: fit {options.model} with {options.engine} to {task}, seed {own.seed}")
    with reserved_output(own.json) as output:
        from ..runs import Request, default_folder, precision
        from ..workflow import candidates, fit_experiment, task_from

        candidates(task_from(options)).check()
        data = str(Path(own.data).absolute())
        config = json.loads(json.dumps({"task": task, "data": data, **dataclasses.asdict(options)}))

        def work(folder: Any) -> int:
            experiment = fit_experiment(config, folder.path)
            return execute(folder, [experiment], {experiment.name: None}, own, session, output)

        request = Request("fit", "", own.seed, config, [], own.checkpoint_seconds, precision())
        path = own.out or default_folder(f"fit-{options.model}-{options.engine}", own.seed)
        return start_run(request, path, session, work)


def read_fit_options(arguments: list[str]) -> FitRequest | None:
    """The options; None where help is asked for, which is then printed.

    Raises:
        BadInputError: an option is unknown, missing or has an unusable value.
    """
    others = [argument for argument in arguments if argument not in ("-h", "--help")]
    own, rest = read_options(FitOptions, others, _COMMAND, known_only=True)
    task, default = _task(own, rest)
    if others != arguments:
        _print_help(task, default)
        return None
    options, unknown = read_options(type(default), rest, _COMMAND, default=default, known_only=True)
    if unknown:
        (other,) = (name for name in _DEFAULTS if name != task)
        if unknown[0].partition("=")[0].replace("--no-", "--") in option_names(_DEFAULTS[other]):
            raise bad_input(
                f"Expected an option of a fit to {task}, got {unknown[0]}, which is one of fits to {other}: say --task {other}, or "
                f"leave it out."
            )
        names = [*option_names(FitOptions), *option_names(default)]
        raise unknown_option(f"a fit to {task}", _COMMAND, unknown[0], names)
    if not own.data:
        raise bad_input(f"Expected data to fit to, got no --data. There are {DATA}.")
    return FitRequest(own, task, options)


def _task(own: FitOptions, rest: list[str]) -> tuple[str, Any]:
    """The task that is named, that the model belongs to, or that the data say; with its default options."""
    hints, _ = read_options(_Hints, rest, _COMMAND, known_only=True)
    task, model = own.task, hints.model or ("structural" if hints.trend or hints.season else "")
    for name, default in _DEFAULTS.items():
        if task is None and model in _models(default):
            task = name
    if task is None and own.data:
        from ..workflow import task_of

        task = task_of(own.data, hints.sequence_column, hints.time_column, (hints.drop, hints.label))
    default = _DEFAULTS[task or "rows"]
    if model in _models(default):
        # Engine, sizes and step are by default those of the model.
        default = type(default)(model=model)
    return task or "rows", default


def _models(default: Any) -> tuple[str, ...]:
    return get_args(type(default).__dataclass_fields__["model"].type)


def _print_help(task: str, default: Any) -> None:
    """All options with their units and defaults."""
    print_in_groups((FitOptions(), default), _GROUPS, "rarely_needed", _COMMAND)
    print(
        "\nexit status: 0 fitted; 1 a crash; 2 bad input; 4 training stopped because something was not finite (the model from "
        "before is kept); 130 Ctrl-C (a checkpoint is kept)"
    )
    (other,) = (name for name in _DEFAULTS if name != task)
    print(f"\n`homeostat fit --task {other} --help` lists the options of fits to {other}")
