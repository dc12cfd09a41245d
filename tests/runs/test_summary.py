"""Which words stand beside the numbers of a summary."""

import pytest

from homeostat.runs import summary_rows


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        ("exact", "log p(x) of a sequence, exact, nats"),
        ("bound", "bound on log p(x) of a sequence, nats"),
        ("log score of an approximate filter", "log p(x) of a sequence by an approximate filter, nats"),
        ("bound by a particle filter", "bound on log p(x) of a sequence by particles, nats"),
    ],
)
def test_the_number_is_called_what_it_is(estimate, words):
    found = {"elbo_nats": -12.5, "elbo_stderr_nats": 0.25, "estimate": estimate}
    assert summary_rows(found, "sequence") == [(words, "-12.50 ± 0.25")]
