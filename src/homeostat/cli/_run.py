"""`homeostat run` and `homeostat resume`, and how any run is started and its result printed."""

import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

from ..experiments import Registry
from ..runs import Experiment, Scale, version
from ._options import (
    AbstractNewRunOptions,
    AbstractRunOptions,
    Run,
    Session,
    bad_input,
    option_names,
    print_options,
    read_options,
    unknown_option,
)
from ._terminal import reserved_output


@final
@dataclass(frozen=True, kw_only=True)
class RunOptions(AbstractNewRunOptions):
    """Run ID, an experiment (group/name) or all of a group, and check its claims; `run ID --help` adds its own options."""

    scale: Scale = Scale.small
    """Size."""


@final
@dataclass(frozen=True, kw_only=True)
class ResumeOptions(AbstractRunOptions):
    """Continue a run that was interrupted or killed."""

    run: Run
    """The folder of a run."""


def run_command(arguments: list[str], session: Session) -> int:
    """Run experiments in a new folder."""
    id, others = _take_id(arguments, session.registry)
    asked_for_help = bool({"-h", "--help"} & set(others))
    others = [argument for argument in others if argument not in ("-h", "--help")]
    options, rest = read_options(RunOptions, others, "homeostat run", known_only=True)
    if not id:
        # A misspelled id behind options; values of options may stand there too, but an id is most likely last.
        words = [argument for argument in rest if not argument.startswith("-")]
        id = words[-1] if words else ""
    if asked_for_help:
        _print_help(id, options.scale, session.registry)
        return 0
    if not id:
        raise bad_input("Expected the id of an experiment or a group, got none. `homeostat list` shows all of them.")
    minutes = sum(getattr(summary.minutes, options.scale) for summary in session.registry.find(id))
    about = f"{60 * minutes:.0f} s" if minutes < 2 else f"{minutes:g} min"
    # Before JAX, which takes seconds to import: something should be seen at once.
    session.terminal.say(f"homeostat {version()}: {id} at {options.scale}, seed {options.seed}; about {about}")
    with reserved_output(options.json) as output:
        from ..runs import Request, config_json, default_folder, precision

        experiments = load(session.registry, id)
        configs = _read_configs(id, experiments, options.scale, rest)
        plain = {name: config_json(config) for name, config in configs.items()}
        config = plain if _is_group(id, experiments) else plain[experiments[0].name]
        seconds = options.checkpoint_seconds
        request = Request(id, str(options.scale), options.seed, config, rest, seconds, precision())
        path = options.out or default_folder(f"{id}-{options.scale}", options.seed)
        work = lambda folder: execute(folder, experiments, configs, options, session, output)  # noqa: E731
        return start_run(request, path, session, work)


def resume_command(arguments: list[str], session: Session) -> int:
    """Go on with a run, or print the result of a finished one."""
    options, _ = read_options(ResumeOptions, arguments, "homeostat resume")
    session.terminal.say(f"homeostat {version()}: resuming {options.run}")
    if (options.run / "result.json").is_file():
        from ..runs import read_result

        session.terminal.say("This run is finished; here is its result.")
        return print_result(read_result(options.run), options.run, options.json, sys.stdout)
    with reserved_output(options.json) as output:
        from ..results import CheckpointError
        from ..runs import config_json, existing_run, precision

        with existing_run(options.run) as folder:
            request = folder.request
            session.at_work.append(options.run)
            if precision() != request.precision:
                raise bad_input(
                    f"Expected {request.precision}-bit numbers, with which the run was started, got {precision()}-bit. "
                    f"Set JAX_ENABLE_X64={int(request.precision == 64)} and resume again."
                )
            if not request.scale:
                from ..workflow import fit_experiment, train_experiment

                wrap = train_experiment if request.experiment == "train" else fit_experiment
                experiment = wrap(request.config, folder.path)
                return execute(folder, [experiment], {experiment.name: None}, options, session, output)
            experiments = load(session.registry, request.experiment)
            configs = _read_configs(request.experiment, experiments, request.scale, request.arguments)
            plain = {name: config_json(config) for name, config in configs.items()}
            if request.config not in (plain, plain[experiments[0].name]):
                raise CheckpointError(
                    f"Expected the configuration that {options.run} was started with, got other defaults: the "
                    "experiment's code has changed since. Use the version that started the run, or start a new one."
                )
            return execute(folder, experiments, configs, options, session, output)


def start_run(request: Any, path: Path, session: Session, work: Callable[[Any], int]) -> int:
    """`work(folder)` in a new folder; bad input leaves none behind."""
    from ..results import BadInputError
    from ..runs import erase_if_nothing_done, new_run

    with new_run(path, request) as folder:
        session.at_work.append(path)
        session.terminal.say(f"run folder: {path}")
        try:
            return work(folder)
        except BadInputError:
            erase_if_nothing_done(folder)
            raise


def execute(
    folder: Any,
    experiments: list[Experiment],
    configs: dict[str, Any],
    options: AbstractRunOptions,
    session: Session,
    output: Any,
) -> int:
    """Run what is left of the experiments, and print the result."""
    from ..runs import compilation_cache, execute

    with compilation_cache(not options.no_cache, session.terminal):
        result = execute(folder, experiments, configs, terminal=session.terminal)
    return print_result(result, folder.path, options.json, output)


def print_result(result: dict[str, Any], path: Path, as_json: bool, output: Any) -> int:
    """The result of an experiment or a fit, and its exit status."""
    from rich.console import Console
    from rich.table import Table

    from ..runs import claim_rows, exit_status, summary_rows

    if as_json:
        output.write(json.dumps(result, ensure_ascii=False) + "\n")
        output.flush()
        return exit_status(result)
    console, table = Console(file=output, highlight=False), Table(header_style="bold")
    if "results" in result.get("summary", {}):
        summary = result["summary"]
        table.add_column(summary["title"])
        table.add_column("", justify="right")
        for row in summary["results"]:
            table.add_row(*row)
        end = f"Report: {path / 'report.html'}\nNext: {summary['next']}"
    elif "summary" in result:
        summary = result["summary"]
        unit = summary.get("unit", "row")
        table.add_column(f"{summary['rows_of']} {unit}s ({summary['rows']})")
        table.add_column(f"per {unit} on average", justify="right")
        for row in summary_rows(summary, unit):
            table.add_row(*row)
        end = f"Report: {path / 'report.html'}\nNext: homeostat evaluate {path} --data TEST-FILE"
    else:
        for name in ("", "claim", "measured", "unit", "expected"):
            table.add_column(name, justify="right" if name in ("measured", "expected") else "left", overflow="fold")
        for row in claim_rows(result):
            mark = "[green]holds[/]" if row.verdict == "pass" else "[bold red]FAILS[/]"
            table.add_row(mark, f"{row.metric} ({row.id})", row.value, row.unit, row.expected)
        passed = sum(claim["passed"] for claim in result["claims"])
        end = f"{passed} of {len(result['claims'])} claims hold. Report: {path / 'report.html'}"
    console.print(table)
    console.print(end, soft_wrap=True)
    return exit_status(result)


def load(registry: Registry, id: str) -> list[Experiment]:
    """The experiments an id names, imported."""
    from ..runs import ProtocolError

    experiments = [registry.load(summary) for summary in registry.find(id)]
    for scale in Scale:
        ids = [claim.id for experiment in experiments for claim in experiment.asserted(scale)]
        twice = {name for name in ids if ids.count(name) > 1}
        if twice:
            raise ProtocolError(f"Expected claim ids that differ within {id!r}, got {sorted(twice)} more than once.")
    return experiments


def _read_configs(id: str, experiments: list[Experiment], scale: str, arguments: list[str]) -> dict[str, Any]:
    """The configuration of each experiment (by name), from the options that are left."""
    kind, default = _target(id, experiments, scale)
    config, unknown = read_options(kind, arguments, f"homeostat run {id}", default=default, known_only=True)
    if unknown:
        names = [*option_names(RunOptions), *option_names(default)]
        raise unknown_option(id, f"homeostat run {id}", unknown[0], names)
    if not _is_group(id, experiments):
        return {experiments[0].name: config}
    return {experiment.name: getattr(config, experiment.name) for experiment in experiments}


def _is_group(id: str, experiments: list[Experiment]) -> bool:
    return all(experiment.id != id for experiment in experiments)


def _target(id: str, experiments: list[Experiment], scale: str) -> tuple[Any, Any]:
    if not _is_group(id, experiments):
        config = experiments[0].config
        return config, config.for_scale(scale)
    # One field for each experiment: --control.num-steps and the like.
    defaults = {experiment.name: experiment.config.for_scale(scale) for experiment in experiments}
    fields = [
        (e.name, Annotated[e.config, e.summary], dataclasses.field(default=defaults[e.name])) for e in experiments
    ]
    group = dataclasses.make_dataclass("Group", fields, frozen=True)
    return group, group(**defaults)


def _take_id(arguments: list[str], registry: Registry) -> tuple[str, list[str]]:
    """The id stands first; behind options it is known by being one, since an option's value could stand there too."""
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], arguments[1:]
    groups = registry.groups()
    ids = {group.id for group in groups} | {e.id for group in groups for e in group.experiments}
    for position, argument in enumerate(arguments):
        if argument in ids:
            return argument, [*arguments[:position], *arguments[position + 1 :]]
    return "", arguments


def _print_help(id: str, scale: str, registry: Registry) -> None:
    """Our options, and the configuration's with their units and defaults at `scale`."""
    print_options(RunOptions, f"homeostat run {id or 'ID'}")
    if id:
        experiments = load(registry, id)
        print("\n" + "\n".join(f"{e.id}: {e.summary} ({e.source})" for e in experiments))
        print(f"\nConfiguration, with the defaults at scale {scale}:\n")
        kind, default = _target(id, experiments, scale)
        print_options(kind, f"homeostat run {id}", default)
