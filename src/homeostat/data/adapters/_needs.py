"""Messages for optional libraries that are not installed."""

from pathlib import Path

from ...results import BadInputError


def lacks(package: str, extra: str, file: Path) -> BadInputError:
    """The sentence about a missing package."""
    return BadInputError(
        f"Expected the package {package}, which reads {file}, found it not installed: pip install {package}, or install "
        f"homeostat with its extra {extra}."
    )
