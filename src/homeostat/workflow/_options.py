"""Options that fits to rows and to sequences share. This module imports nothing heavy, so that help comes at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AbstractOptions:
    """Options of training. Every name is turned into an object by the task's `build`, and nowhere else."""

    columns: str = ""
    """Columns of a table to model, joined by commas; all others if empty."""
    drop: str = ""
    """Columns of a table to leave out, joined by commas."""
    label: str = ""
    """Columns of a table that name its rows, joined by commas; they are left out."""
    day_first: bool = False
    """Dates such as 03/04/2021 are in April, where no date of their column tells the day from the month."""
    anneal: int | None = None
    """Updates during which the weight of the rate rises from 0 to 1 (count)."""
    standardize: bool = True
    """Subtract the mean of the training data and divide by their scale (gaussian only); results are in the data's own unit."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    clip_norm: float = 0.0
    """Largest norm of a gradient, which is shortened to it; 0 for no bound (nats per unit)."""
    validation_fraction: float = 0.1
    """Share of the data set apart for choosing the best moment of training (fraction)."""
    patience: int = 5
    """Validations without improvement after which training ends; 0 for never (count)."""
    steps: int = 5_000
    """Training updates (count)."""
    batch_size: int = 128
    """Rows in an update, all if there are fewer (count)."""
    validate_every: int = 500
    """Updates between two validations (count)."""
    report_every: int = 50
    """Updates in a compiled segment, after which progress is shown (count)."""
