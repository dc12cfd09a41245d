"""Control by feedback: policies inferred from values, by engines that learn and by engines that do not."""

ORDER = ("linear_quadratic", "probes")
