"""The context of a run: stages and loops that survive a kill, and what an experiment records."""

import dataclasses
import re
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, final

import jax
import numpy as np

from ..results import BadInputError
from ..train import (
    AbstractLoader,
    Checkpointer,
    FitResult,
    SegmentReport,
    fit,
    is_self_describing,
    load_checkpoint,
    plain,
    save_checkpoint,
    write_bytes,
)
from ._experiment import Experiment, ProtocolError, Scale
from ._folder import RunFolder
from ._images import encode_gif, encode_png
from ._terminal import AbstractBar, AbstractTerminal, Interrupts


class _Scope(NamedTuple):
    """Where in an experiment the code is: the folder of its checkpoints and the names of the open stages."""

    folder: str
    names: tuple[str, ...]

    def inner(self, name: str) -> "_Scope":
        return _Scope(self.folder, (*self.names, name))

    @property
    def label(self) -> str:
        shared = "shared/" if self.folder == "shared" else ""
        return shared + ".".join(self.names)


@final
class RunContext:
    """What a run offers to an experiment: stages, loops, records, figures and measurements.

    Args:
        alone: whether it is the run's only experiment (a group's experiments have sub-folders).
        root_key: the run's key, from the seed.
    """

    def __init__(
        self,
        folder: RunFolder,
        experiment: Experiment,
        *,
        alone: bool,
        root_key: Any,
        terminal: AbstractTerminal,
        interrupts: Interrupts,
    ):
        # A fit to a user's own data has no scale; nothing of it asks.
        self.scale = Scale(folder.request.scale or Scale.paper)
        self.folder = folder.path
        self.seed = folder.request.seed
        self._run = folder
        self._experiment = experiment
        self._prefix = "" if alone else experiment.name
        self._root_key = root_key
        self._terminal = terminal
        self._interrupts = interrupts
        self._scope = _Scope(self._prefix, ())
        self._used: set[tuple[_Scope, str]] = set()
        self._ledger = folder.part(experiment.name)

    # -- resumable computation

    def stage(self, name: str, function: Callable[..., Any], *, key: Any, like: Any = None) -> Any:
        """Run `function(key=...)` once in the life of the run, and keep its result.

        The function gets `key` folded with the stage's name. Its result is checkpointed and read back, so it is the
        same in an unbroken and in a resumed run. Stages may be nested.

        Args:
            name: unique inside the experiment.
            function: called as `function(key=stage_key)`; returns a tree of arrays, numbers and keys.
            key: the experiment's key (the same for every stage).
            like: the structure to restore into. Not needed when the result is made of arrays, keys, Python numbers,
                strings and None in tuples, lists, dicts and `NamedTuple`s whose class is importable. Needed when it
                holds an `eqx.Module`: pass a module of the same structure, or a function of no arguments that builds
                one (it is only evaluated for shapes, `eqx.filter_eval_shape`).
        """
        return self._once(self._enter(name, "stage"), function, _fold(key, name), like)

    def shared(self, name: str, builder: Callable[..., Any], *, spec: Any, like: Any = None) -> Any:
        """Build an artefact that several experiments of the group use, such as a fitted encoder.

        In a group run it is built once, by whichever experiment asks first; otherwise the run builds its own. Its key
        depends on the seed, the name and the spec only, so both ways give the same bits.

        Args:
            name: unique inside the group.
            builder: called as `builder(key=...)`; may use `loop` and `fit`.
            spec: a frozen dataclass (or tuple of numbers and strings) with everything that the artefact depends on.
                Experiments that ask with different specs get different artefacts.
        """
        text = repr(plain(dataclasses.asdict(spec) if dataclasses.is_dataclass(spec) else spec))
        key = _fold(_fold(self._root_key, f"shared/{_valid(name)}"), text)
        outer, self._scope = self._scope, _Scope("shared", (f"{name}-{zlib.crc32(text.encode()):08x}",))
        try:
            return self._once(self._scope, builder, key, like)
        finally:
            self._scope = outer

    def fit(
        self,
        name: str,
        learner: Any,
        loader: AbstractLoader,
        *,
        num_steps: int,
        key: Any,
        recorded: Callable[[Any], Any] = lambda metrics: metrics,
        validated: Callable[[float], dict[str, float]] = lambda nats: {"validation_free_energy_nats": nats},
        **options: Any,
    ) -> FitResult:
        """Train an `AbstractLearner` with `train.fit`, checkpointed.

        After each segment the metrics' means are recorded under the name and the bar moves.

        Args:
            name: unique inside the enclosing stage (or experiment).
            learner: its `init` gives the state, its `update` is scanned.
            loader: gives each update its batch, for instance `InMemoryLoader(rows, batch_size)`.
            key: split for the state, the loader, the updates and the validations.
            recorded: of a segment's metrics, a record of the numbers to write down; all by default.
            validated: of a validation, what to write down.
            options: of `train.fit`: `every`, `validate`, `validate_every`, `patience`, `least_gain`.
        """
        scope = self._enter(name, "loop")
        with self._interrupts.in_loop(), self._terminal.progress(scope.label, num_steps) as bar:

            def on_segment(report: SegmentReport) -> None:
                fields = recorded(report.metrics)._asdict()
                if report.validation_nats is not None:
                    self._record(scope, report.step, validated(report.validation_nats))
                self._record(scope, report.step, fields)
                bar.move_to(report.step, "  ".join(f"{name} {value:.4g}" for name, value in list(fields.items())[:3]))
                self._run.save_sometimes()

            callback = Checkpointer(
                self._path(scope, "loop"),
                identity=self._identity(scope),
                seconds=self._run.request.checkpoint_seconds,
                on_segment=on_segment,
                stop_requested=lambda: self._interrupts.requested,
                # Inside a stage the result of a short loop is kept by the stage.
                short_loops_too=not self._scope.names,
            )
            return fit(learner, loader, num_steps=num_steps, key=key, callback=callback, **options)

    # -- records

    def measure(self, claim_id: str, value: Any, stderr: Any = None) -> None:
        """Report the measured value of a claim, with its standard error where there is one.

        Every claim asserted at this scale must be measured, otherwise it counts as failed. A claim that is not asserted
        at this scale may be measured as well; the report shows it apart.
        """
        known = {claim.id for claim in self._experiment.claims}
        if claim_id not in known:
            raise ProtocolError(
                f"Expected the id of a claim of {self._experiment.id}, {sorted(known)}, got {claim_id!r}."
            )
        measured = {"value": float(value), "stderr": None if stderr is None else float(stderr)}
        self._ledger["measurements"][claim_id] = plain(measured)
        self._run.save()

    def metrics(self, *, step: int, **numbers: Any) -> None:
        """Append one line to `metrics.jsonl`: the current stage, the step and the numbers (units in their names)."""
        self._record(self._scope, step, numbers)

    def progress(self, description: str, *, total: float | int) -> AbstractContextManager[AbstractBar]:
        """A progress bar on standard error, for whatever takes over two seconds; loops have their own."""
        return self._terminal.progress(description, total)

    def figure(self, name: str, figure: Any, *, caption: str) -> None:
        """Save a matplotlib figure as `figures/<name>.png`, put it into the report, and close it."""
        self._image("figure", name, "png", encode_png(figure), caption)

    def animation(self, name: str, frames: Any, *, caption: str, frames_per_second: float | int = 5) -> None:
        """Save frames as `figures/<name>.gif`, and put the animation into the report.

        Frames are uint8 (or floats in [0, 1]) of shape (time, height, width) or (time, height, width, 3).
        """
        self._image("animation", name, "gif", encode_gif(np.asarray(frames), frames_per_second), caption)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str) -> None:
        """Put a table into the report; cells are strings or numbers."""
        if any(len(row) != len(columns) for row in rows):
            raise BadInputError(
                f"Expected rows with {len(columns)} cells in the table {name!r}, got others. Complete them."
            )
        self._item("table", name, {"columns": list(columns), "rows": [list(row) for row in rows], "caption": caption})

    def note(self, name: str, text: str) -> None:
        """Put a paragraph of plain text into the report."""
        self._item("note", name, {"caption": text})

    def conclude(self, **numbers: Any) -> None:
        """Put numbers of the whole run into `summary` of `result.json`, where a run has no claims."""
        self._ledger["summary"] = plain(numbers)
        self._run.save()

    def say(self, text: str) -> None:
        """One line on standard error for whoever watches the run."""
        self._terminal.say(text)

    # -- inside

    def _once(self, scope: _Scope, function: Callable[..., Any], key: Any, like: Any) -> Any:
        path = self._path(scope, "stage")
        if path.is_file():
            self._terminal.say(f"  {scope.label}: restored")
        else:
            start = time.monotonic()
            self._terminal.say(f"  {scope.label}: started")
            outer, self._scope = self._scope, scope
            try:
                tree = jax.block_until_ready(function(key=key))
            finally:
                self._scope = outer
            if like is None and not is_self_describing(tree):
                raise ProtocolError(
                    f"Expected like= for the stage {scope.label!r}: its result holds modules or other objects that a "
                    "file cannot describe. Pass a tree of the same structure, or a function that builds one."
                )
            save_checkpoint(path, tree, identity=self._identity(scope))
            self._run.save()
            # What the stage kept inside for its own resume is of no use any more.
            for inner in path.parent.glob(f"{'.'.join(scope.names)}.*.*.npz"):
                inner.unlink()
            self._terminal.say(f"  {scope.label}: done in {time.monotonic() - start:.1f} s")
        return load_checkpoint(path, like=like, identity=self._identity(scope))

    def _enter(self, name: str, kind: str) -> _Scope:
        scope = self._scope.inner(_valid(name))
        if (scope, kind) in self._used:
            raise ProtocolError(f"Expected a new name for each {kind} of an experiment, got {scope.label!r} twice.")
        self._used.add((scope, kind))
        return scope

    def _path(self, scope: _Scope, kind: str) -> Path:
        return self.folder / "checkpoints" / scope.folder / f"{'.'.join(scope.names)}.{kind}.npz"

    def _identity(self, scope: _Scope) -> str:
        return f"{self._run.request.identity}: {scope.folder}/{'.'.join(scope.names)}"

    def _record(self, scope: _Scope, step: int, numbers: dict[str, Any]) -> None:
        line = {"experiment": self._experiment.id, "stage": scope.label, "step": int(step), **numbers}
        self._run.metrics.append(line)

    def _image(self, kind: str, name: str, suffix: str, content: bytes, caption: str) -> None:
        relative = Path("figures") / self._prefix / f"{_valid(name)}.{suffix}"
        write_bytes(self.folder / relative, content)
        self._item(kind, name, {"file": relative.as_posix(), "caption": caption})

    def _item(self, kind: str, name: str, content: dict[str, Any]) -> None:
        self._ledger["items"][f"{kind}/{_valid(name)}"] = plain({"kind": kind, "name": name, **content})
        self._run.save()


def _fold(key: Any, name: str) -> Any:
    return jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def experiment_key(root_key: Any, id: str) -> Any:
    """The key of an experiment: the same alone and in a group."""
    return _fold(root_key, id)


def _valid(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ProtocolError(f"Expected a name made of letters, digits, '_' and '-', got {name!r}.")
    return name
