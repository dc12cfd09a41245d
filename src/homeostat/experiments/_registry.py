"""Finds experiments: every module `<package>.<group>.<name>` whose file assigns `SOURCE`, `MINUTES` and `CLAIMS`.

Listing reads the files' text and runs none of it, so it needs no JAX and takes milliseconds; loading imports one
module.
"""

import ast
import dataclasses
import difflib
import importlib
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, final

from ..runs import Claim, Experiment, ProtocolError, Scale
from ._summary import REQUIRED, Summary, first_line, literal, summarize

_RESERVED = ("scale", "seed", "out", "json", "no_cache", "checkpoint_seconds", "help")


class GroupSummary(NamedTuple):
    """A group, the first line of its package's docstring, and its experiments in the order in which a group run takes them."""

    id: str
    summary: str
    experiments: tuple[Summary, ...]


@final
class Registry:
    """The experiments under one package.

    A group's package may assign `ORDER = ("name", ...)`, a literal: the order of a group run. Experiments that it does
    not name follow in alphabetical order.

    Args:
        package: import name of the package whose sub-packages are groups.
    """

    def __init__(self, package: str = "homeostat.experiments"):
        self._package = package

    def groups(self) -> tuple[GroupSummary, ...]:
        """All groups that hold an experiment."""
        spec = importlib.util.find_spec(self._package)
        roots = list(spec.submodule_search_locations or ()) if spec is not None else []
        folders = [folder for root in roots for folder in sorted(Path(root).iterdir())]
        groups = (self._group(folder) for folder in folders if (folder / "__init__.py").is_file())
        return tuple(group for group in groups if group.experiments)

    def experiments(self) -> tuple[Summary, ...]:
        """All experiments, group by group."""
        return tuple(experiment for group in self.groups() for experiment in group.experiments)

    def find(self, id: str) -> tuple[Summary, ...]:
        """The experiments that an id names: one, or all of a group.

        Raises:
            BadInputError: nothing has that id; the message names the nearest ones.
        """
        groups = self.groups()
        chosen = tuple(e for group in groups for e in group.experiments if e.id == id or group.id == id)
        if not chosen:
            self._unknown(id, groups)
        return chosen

    def load(self, summary: Summary) -> Experiment:
        """Import an experiment's module and check that it keeps the protocol.

        Raises:
            ProtocolError: the module misses a part or has one of the wrong kind.
        """
        module = importlib.import_module(summary.module)
        for name in (*REQUIRED, "Config", "run"):
            if not hasattr(module, name):
                raise ProtocolError(
                    f"Expected the experiment {summary.module} to define {name}, got no such name. Add it."
                )
        _check_config(summary.module, module.Config)
        claims = tuple(module.CLAIMS)
        _check_claims(summary.module, claims)
        return Experiment(
            id=summary.id, summary=summary.summary, source=summary.source, minutes=summary.minutes, claims=claims,
            config=module.Config, run=module.run,
        )  # fmt: skip

    def _group(self, folder: Path) -> GroupSummary:
        tree = ast.parse((folder / "__init__.py").read_text())
        order = list(literal(tree, "ORDER") or ())
        files = [file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")]
        found = [summarize(f, f"{folder.name}/{f.stem}", f"{self._package}.{folder.name}.{f.stem}") for f in files]
        rank = {f"{folder.name}/{name}": position for position, name in enumerate(order)}
        members = sorted(filter(None, found), key=lambda member: (rank.get(member.id, len(rank)), member.id))
        return GroupSummary(folder.name, first_line(tree), tuple(members))

    def _unknown(self, id: str, groups: tuple[GroupSummary, ...]) -> NoReturn:
        from ..results import BadInputError  # brings JAX, which listing does without

        names = [group.id for group in groups] + [e.id for group in groups for e in group.experiments]
        # Also compare with the last parts, so that "control" finds "dsprites/control".
        last = {name: name.rpartition("/")[2] for name in names}
        close = difflib.get_close_matches(id, last.values(), n=1 + len(last), cutoff=0.6)
        near = difflib.get_close_matches(id, names, n=3, cutoff=0.5) + [name for name in names if last[name] in close]
        hint = f"There are: {', '.join(names) or 'none'}."
        if near:
            hint = f"Did you mean {' or '.join(dict.fromkeys(near))}?"
        raise BadInputError(
            f"Expected the id of an experiment or a group, got {id!r}. {hint} `homeostat list` shows all of them."
        )


def _check_config(module: str, config: Any) -> None:
    parameters = getattr(config, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen or not callable(getattr(config, "for_scale", None)):
        raise ProtocolError(
            f"Expected {module}.Config to be a frozen dataclass with a classmethod for_scale(scale), got {config!r}."
        )
    taken = sorted(set(_RESERVED) & {field.name for field in dataclasses.fields(config)})
    if taken:
        raise ProtocolError(
            f"Expected other field names in {module}.Config than those of every run, got {taken}. Rename them."
        )
    for scale in Scale:
        if not isinstance(config.for_scale(scale), config):
            raise ProtocolError(f"Expected {module}.Config.for_scale({scale.value!r}) to return a Config.")


def _check_claims(module: str, claims: tuple[Any, ...]) -> None:
    seen = set()
    for claim in claims:
        if not isinstance(claim, Claim):
            raise ProtocolError(f"Expected {module}.CLAIMS to hold Claim objects, got {claim!r}.")
        for scale in claim.scales:
            if scale not in tuple(Scale):
                raise ProtocolError(
                    f"Expected the scales of claim {claim.id!r} to be among {[s.value for s in Scale]}, got {scale!r}."
                )
            if (claim.id, scale) in seen:
                raise ProtocolError(f"Expected one claim {claim.id!r} at scale {scale!r} in {module}, got two.")
            seen.add((claim.id, scale))
