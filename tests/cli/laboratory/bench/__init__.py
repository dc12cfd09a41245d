"""Two experiments that share a data set."""

ORDER = ("descent", "average")
