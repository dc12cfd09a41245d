"""Sizes chosen by validation, against fits of each size by itself."""

import json

import jax
import numpy as np
import pytest

from homeostat.cli import main
from homeostat.results import BadInputError
from homeostat.workflow import RowsOptions, RowsTask, SequencesOptions, SequencesTask, candidates, fit, load

ROWS = RowsOptions(model="probabilistic-pca", engine="exact", validation_fraction=0.3)


def data():
    """Two latents behind five columns."""
    generator = np.random.default_rng(0)
    codes, weights = generator.normal(size=(300, 2)), generator.normal(size=(2, 5))
    return codes @ weights + 0.3 * generator.normal(size=(300, 5))


def with_latents(latents):
    return RowsTask(RowsOptions(**{**vars(ROWS), "latents": latents}))


def test_a_range_stands_for_its_sizes():
    found = candidates(with_latents("2:4"))
    assert found.option == "latents"
    assert {size: task.options.latents for size, task in found.tasks.items()} == {2: "2", 3: "3", 4: "4"}
    found = candidates(SequencesTask(SequencesOptions(model="hidden-markov", engine="exact", states="1:2")))
    assert [task.options.states for task in found.tasks.values()] == [1, 2]
    alone = with_latents("16")
    assert candidates(alone) == ("", {0: alone})


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (with_latents("4:2"), "Expected a range of sizes only as --latents 2:6"),
        (with_latents("1:2:3"), "got --latents 1:2:3"),
        (with_latents("a:3"), "two whole numbers"),
        (SequencesTask(SequencesOptions(states="2:3")), "as --latents 2:6 for srnn.*got --states 2:3"),
        (RowsTask(RowsOptions(latents="1:2", validation_fraction=0.0)), "--validation-fraction above 0"),
    ],
)
def test_what_is_no_range_is_refused(task, message):
    with pytest.raises(BadInputError, match=message):
        candidates(task)
    with pytest.raises(BadInputError, match="a whole number as --latents, got many"):
        candidates(SequencesTask(SequencesOptions(latents="many"))).check()


def test_the_best_of_single_fits_is_chosen():
    rows, key = data(), jax.random.key(0)
    chosen = fit(with_latents("1:3"), rows, key=key)
    task = with_latents("1")
    _, held_out = task.split(task.open(rows), 0)
    nats = {}
    for size in (1, 2, 3):
        alone = fit(with_latents(str(size)), rows, key=key)
        nats[size] = alone.task.score(alone.system, alone.selected, held_out, key=key)
    assert chosen.task.options.latents == str(min(nats, key=lambda size: nats[size]))
    np.testing.assert_allclose(
        chosen.task.score(chosen.system, chosen.selected, held_out, key=key), min(nats.values()), rtol=1e-6
    )


@pytest.mark.slow
def test_a_run_keeps_the_best_and_goes_on_where_it_was_stopped(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "rows.npy", data())
    words = ["--data", tmp_path / "rows.npy", "--model", "probabilistic-pca", "--engine", "exact", "--latents", "1:3"]
    finished = RowsTask.score

    def stopped(self, *arguments, **options):
        if self.options.latents == "3":
            raise KeyboardInterrupt
        return finished(self, *arguments, **options)

    monkeypatch.setattr(RowsTask, "score", stopped)
    assert main([*map(str, ["fit", *words, "--out", tmp_path / "run"])]) == 130
    monkeypatch.undo()
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "run"), "--json"]) == 0
    told = capsys.readouterr()
    assert "latents-2: restored" in told.err and "latents-3: started" in told.err
    summary = json.loads(told.out)["summary"]
    nats = [row["validation_free_energy_nats"] for row in summary["selection"]]
    assert [row["latents"] for row in summary["selection"]] == [1, 2, 3]
    assert summary["selected"] == {"latents": 1 + int(np.argmin(nats))}
    assert load(tmp_path / "run").task.options.latents == str(summary["selected"]["latents"])
    assert (tmp_path / "run" / "figures" / "selection.png").is_file()
