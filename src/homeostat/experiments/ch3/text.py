"""Direct against iterative inference on word counts: perplexity at equal updates and at equal time.

Table 3.3, with 20 Newsgroups (1,995 words) in place of RCV1 unless RCV1 is at hand and the scale is `paper`; perplexities of
different vocabularies cannot be compared. The perplexity is that of the thesis,

    P = exp(-(1/N) sum_i log p(x_i) / n_i),

with log p(x_i) the probability of the document's n_i words in their order (no multinomial coefficient), once estimated by
importance-weighted samples and once bounded by the ELBO, which bounds P from above (the table's second column).

Where this differs from the thesis: the authors' code no longer holds its RCV1 configuration, so that sizes and rates are ours, and
so are two things without which direct inference does not train steadily: the gradient's norm is clipped, since a document of
thousands of words may have a thousand times the usual one, and networks read layer-normalised log counts; both on both sides; documents are set apart for validation; inference starts at a standard Gaussian. At `small`,
128 units, 50 latents, 1,000 updates, and 500 test documents with 500 samples each. At `smoke`, counts drawn from random topics
stand for documents.
"""

import enum
from dataclasses import dataclass, replace
from functools import partial

import jax.numpy as jnp
import numpy as np

from ...data import load_rcv1
from ...inference.engines import Estimate, LogGradient
from ...metrics import perplexity, word_frequencies
from ...nn import LayerNorm
from ...results import BadInputError
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Array, Float, Key
from ..kit import EVERYWHERE, Published, Training, at, least_lead, scales
from ._comparison import Table, TableRow, compare_row, measure_leads, tabulate
from ._data import DataSet, SplitData, load_observations, log_counts, observed, word_counts
from ._methods import Entry, Judging
from ._networks import NetworkSizes, data_encoding

SOURCE = "Marino (thesis), Table 3.3"
MINUTES = Minutes(smoke=0.2, small=4.0, paper=2000.0)
PUBLISHED = Published(
    SOURCE, "perplexity", ("direct", "iterative"), {"one level": (323.0, 285.0), "one level, bound": (377.4, 314.0)}, 1
)
_LEAD = "perplexity of direct inference minus that of iterative inference, test documents"
_FIGURE = "perplexity of the test documents of RCV1"
CLAIMS = (
    Claim("text/one-level-updates", SOURCE, f"{_LEAD}, equal updates", "perplexity", AtLeast(0.0)),
    Claim("text/one-level-time", SOURCE, f"{_LEAD}, equal wall-clock", "perplexity", AtLeast(0.0)),
    Claim("text/bound-updates", SOURCE, f"{_LEAD}, from the bound, equal updates", "perplexity", AtLeast(0.0)),
    Claim("text/bound-time", SOURCE, f"{_LEAD}, from the bound, equal wall-clock", "perplexity", AtLeast(0.0)),
    Claim("text/no-latents", SOURCE, "least lead of a trained model over word frequencies", "perplexity",
          AtLeast(0.0), scales=EVERYWHERE),
    # A twentieth on either side: sizes and rates are not known.
    PUBLISHED.figure_claim("text/one-level-direct", f"{_FIGURE}, direct", "one level", "direct", within=16.0),
    PUBLISHED.figure_claim("text/one-level-iterative", f"{_FIGURE}, iterative", "one level", "iterative", within=14.0),
)  # fmt: skip


class Texts(enum.StrEnum):
    """Where word counts come from."""

    newsgroups = "newsgroups"
    """20 Newsgroups, 1,995 words."""
    rcv1 = "rcv1"
    """RCV1, 10,000 words, 794,414 random documents to learn and choose from; 16 GB of memory. 20 Newsgroups if it is not
    at hand."""
    topics = "topics"
    """Counts drawn from random topics, 200 words: needs no files."""


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    data: Texts = Texts.newsgroups
    """What is observed."""
    one_level: Entry = Entry(NetworkSizes((50,), 0, 128, 2, 128, 1), Training(1_000, 64, 1e-3))
    """The model and its training."""
    largest_gradient: float = 300.0
    """Norm at which the gradient of all weights is clipped (nats per unit of weight)."""
    reporting: Judging = Judging(3, 500, 500, 500)
    """How models are judged."""

    for_scale = scales(
        smoke=at(
            Texts.topics,
            Entry(NetworkSizes((8,), 0, 32, 1, 32, 1), Training(300, 32, 3e-3), 2),
            reporting=Judging(1, 32, 32, 20),
        ),
        paper=at(
            Texts.rcv1, Entry(NetworkSizes((100,)), Training(310_000, 256, 2e-4), 5), reporting=Judging(num_test=10_000)
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data, is_rcv1 = _load(config.data, context)
    data = replace(data, features=normalized_log_counts)
    inputs = (Estimate(), LogGradient(), data_encoding(data))
    training = replace(config.one_level.training, largest_gradient=config.largest_gradient)
    test = data.test[: config.reporting.num_test].astype(float)
    # Without RCV1, the figures would be those of other words.
    table = Table(
        "text", data, config.reporting, "perplexity", partial(perplexities, num_words=test.sum(axis=1)), 1,
        PUBLISHED if is_rcv1 else None, claimed=is_rcv1,
    )  # fmt: skip
    row = TableRow("one level", replace(config.one_level, training=training), inputs)
    outcome = compare_row(context, table, row, key=key)
    measure_leads(context, "text/bound", outcome, table.by_bound)
    frequencies = word_frequencies(data.train.astype(float))
    reference = float(table.figure((test @ np.log(frequencies))[None, :])[0])
    context.measure("text/no-latents", least_lead([outcome.comparison], table.by_likelihood, [reference]))
    context.note("no-latents", f"The training documents' word frequencies have a perplexity of {reference:.1f}.")
    told = (f"{figure:g}" for row in PUBLISHED.rows.values() for figure in row)
    tabulate(
        context, table, [outcome], also_bound=True,
        caption=f"Perplexity of {len(test)} test documents over {data.size} words, {config.reporting.num_importance} "
        f"importance-weighted samples each, and from the bound; mean and standard error over {config.reporting.num_seeds} "
        "seeds. The thesis has {} (direct) and {} (iterative) on RCV1, {} and {} from the bound.".format(*told),
    )  # fmt: skip


def normalized_log_counts(observation: Float[Array, " words"]) -> Float[Array, " words"]:
    """log(1 + x) with zero mean and unit variance over the words of one document, so that its length does not matter."""
    return LayerNorm()(log_counts(observation))


def perplexities(
    log_likelihood_nats: Float[np.ndarray, "seeds rows"], num_words: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " seeds"]:
    """The thesis' perplexity of each seed."""
    return np.array([float(perplexity(jnp.asarray(row), jnp.asarray(num_words)).value) for row in log_likelihood_nats])


def _load(texts: Texts, context: RunContext) -> tuple[SplitData, bool]:
    """The documents, and whether they are RCV1."""
    if texts is not Texts.rcv1:
        return load_observations(DataSet(texts.value)), False
    try:
        splits = load_rcv1(num_test=10_000)
    except BadInputError as problem:
        context.note("data", f"RCV1 is not at hand, 20 Newsgroups stands in for it: {problem}")
        return load_observations(DataSet.newsgroups), False
    return word_counts(observed(splits)), True
