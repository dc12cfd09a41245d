"""The checker of annotations: beartype, told of a function when it is first called.

The package has thousands of annotated functions, of which a process calls a part.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def on_first_call(function: Callable[..., Any]) -> Callable[..., Any]:
    checked = None

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if checked is None:
            checked = beartype(function)
        return checked(*args, **kwargs)

    return call
