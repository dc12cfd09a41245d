"""What a run offers to an experiment, called directly."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from homeostat.cli._terminal import Terminal
from homeostat.core import AbstractLearner
from homeostat.results import BadInputError
from homeostat.runs import (
    AtLeast,
    Claim,
    Experiment,
    Interrupts,
    Minutes,
    ProtocolError,
    Request,
    RunContext,
    encode_gif,
    existing_run,
    new_run,
)
from homeostat.train import FullBatch

REQUEST = Request("group/one", "small", 0, {}, [], 10.0, 64)
EXPERIMENT = Experiment(
    "group/one", "", "", Minutes(1, 1, 1), (Claim("one/a", "", "", "", AtLeast(1)),), object, lambda *a, key: None
)


class Spec(NamedTuple):
    size: int


class Metrics(NamedTuple):
    value: jax.Array


def context_of(folder) -> RunContext:
    terminal = Terminal()
    return RunContext(
        folder, EXPERIMENT, alone=True, root_key=jax.random.key(7), terminal=terminal, interrupts=Interrupts(terminal)
    )


class Count(AbstractLearner):
    def init(self, *, key):
        return jnp.zeros(())

    def update(self, state, batch, *, key):
        return state + 1, Metrics(state)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[RunContext]:
    with new_run(tmp_path / "run", REQUEST) as folder:
        yield context_of(folder)


@pytest.fixture
def later(context: RunContext):
    """A second process's view of the same run (the first has let go of it)."""
    with existing_run_unlocked(context.folder) as folder:
        yield context_of(folder)


def existing_run_unlocked(path: Path):
    (path / ".lock").unlink()
    return existing_run(path)


def test_stages_run_once_and_do_not_depend_on_their_order(context, later, key):
    calls = []

    def draw(key):
        calls.append(1)
        return jax.random.normal(key, (2,))

    first = context.stage("first", draw, key=key)
    second = context.stage("second", draw, key=key)
    assert (first != second).all()
    np.testing.assert_array_equal(later.stage("second", draw, key=key), second)
    np.testing.assert_array_equal(later.stage("first", draw, key=key), first)
    assert len(calls) == 2


def test_stages_nest_and_drop_what_only_their_own_resume_needs(context, later, key):
    inner_calls = []

    def inner(key):
        inner_calls.append(1)
        return jax.random.normal(key)

    def outer(key):
        value = context.stage("inner", inner, key=key)
        if len(inner_calls) == 1 and not broken:
            broken.append(1)
            raise KeyboardInterrupt
        return value + 1

    broken = []
    with pytest.raises(KeyboardInterrupt):
        context.stage("outer", outer, key=key)
    names = sorted(path.name for path in (context.folder / "checkpoints").iterdir())
    assert names == ["outer.inner.stage.npz"]
    context._used.clear()  # as in a new process
    value = context.stage("outer", outer, key=key)
    assert len(inner_calls) == 1
    assert [path.name for path in (context.folder / "checkpoints").iterdir()] == ["outer.stage.npz"]
    assert later.stage("outer", lambda key: pytest.fail("ran again"), key=key) == value


def test_results_with_modules_need_a_like(context, later, key):
    with pytest.raises(ProtocolError, match="like="):
        context.stage("without", lambda key: eqx.nn.Linear(2, 1, key=key), key=key)
    assert not list((context.folder / "checkpoints").glob("*"))
    like = eqx.nn.Linear(2, 1, key=key)
    fitted = context.stage("with", lambda key: eqx.nn.Linear(2, 1, key=key), key=key, like=like)
    assert not eqx.tree_equal(fitted, like)
    restored = later.stage("with", lambda key: pytest.fail("ran again"), key=key, like=lambda: like)
    assert eqx.tree_equal(restored, fitted)


def test_shared_artefacts_depend_on_name_and_spec_only(context, later):
    def build(key):
        return jax.random.normal(key)

    one = context.shared("thing", build, spec=Spec(1))
    two = context.shared("thing", build, spec=Spec(2))
    other = context.shared("other", build, spec=Spec(1))
    assert len({float(one), float(two), float(other)}) == 3
    assert later.shared("thing", lambda key: pytest.fail("built again"), spec=Spec(1)) == one


def test_names_are_used_once_and_plain(context, key):
    context.stage("a", lambda key: 1, key=key)
    with pytest.raises(ProtocolError, match="twice"):
        context.stage("a", lambda key: 1, key=key)
    for name in ("a b", "a/b", "a.b", "", "../a"):
        with pytest.raises(ProtocolError, match="Expected a name"):
            context.stage(name, lambda key: 1, key=key)


def test_a_loop_may_bear_the_name_of_a_stage(context, key):
    def stage(key):
        return context.fit("walk", Count(), FullBatch(), num_steps=3, key=key, every=2).state

    assert context.stage("walk", stage, key=key) == 3
    assert context.fit("walk", Count(), FullBatch(), num_steps=4, key=key, every=2).state == 4


def test_records(context):
    context.metrics(step=1, loss_nats=jnp.asarray(0.5))
    with existing_run_unlocked(context.folder) as folder:
        again = context_of(folder)
        again.metrics(step=1, loss_nats=jnp.asarray(0.5))
        again.metrics(step=2, loss_nats=np.float32(0.25))
    lines = [json.loads(line) for line in (context.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss_nats"] for line in lines] == [0.5, 0.25]
    with pytest.raises(ProtocolError, match=r"one/a.*got 'one/b'"):
        context.measure("one/b", 1.0)
    with pytest.raises(BadInputError, match="2 cells"):
        context.table("t", ("a", "b"), [(1,)], caption="")


def test_an_animation_from_frames(context):
    frames = np.linspace(0, 1, 5 * 4 * 6 * 3).reshape(5, 4, 6, 3)
    context.animation("encoded", frames, caption="e", frames_per_second=10)
    with Image.open(context.folder / "figures" / "encoded.gif") as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (5, (6, 4), 100)


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 4), (2, 4, 4, 4), (2, 2, 2, 2, 3)])
def test_frames_of_other_shapes(shape):
    with pytest.raises(BadInputError, match="Expected frames of shape"):
        encode_gif(np.zeros(shape), 5)
