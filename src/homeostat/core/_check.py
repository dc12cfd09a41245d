"""Whether an object is of the protocol that its place asks for, checked where it is handed over."""

import dataclasses
from types import UnionType
from typing import Any, Union, get_args, get_origin

import equinox as eqx

from ..results import BadInputError
from ..typing import Key


def check_kind(value: object, kind: type | tuple[type, ...], place: str) -> None:
    """Raise unless `value` is an instance of `kind`.

    Args:
        value: what was passed.
        kind: a protocol, or several of which one will do.
        place: what it was passed as, for the message.

    Raises:
        BadInputError: it is something else.
    """
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join(one.__name__ for one in kinds)
        got = f"the class {value.__name__} itself" if isinstance(value, type) else type(value).__name__
        raise BadInputError(f"Expected {names} as {place}, got {got}: check the order of the arguments.")


def require_key(given: Key | None, reason: str) -> Key:
    """The key, where one is needed after all.

    Raises:
        BadInputError: there is none; the message gives the reason.
    """
    if given is None:
        raise BadInputError(f"Expected a key: {reason}. Pass key=jax.random.key(...).")
    return given


def check_fields(owner: eqx.Module) -> None:
    """Check every field of a module that is annotated with module classes; for `__check_init__`.

    Raises:
        BadInputError: a field holds something else, such as an objective in place of a model.
    """
    for field in dataclasses.fields(owner):  # pyright: ignore[reportArgumentType]
        kinds = _module_kinds(field.type)
        if kinds:
            check_kind(getattr(owner, field.name), kinds, f"`{field.name}` of {type(owner).__name__}")


def _module_kinds(annotation: Any) -> tuple[type, ...]:
    """The classes of an annotation that names module classes (and None) only, else nothing."""
    if get_origin(annotation) in (UnionType, Union):
        members = [_module_kinds(member) for member in get_args(annotation)]
        return tuple(kind for kinds in members for kind in kinds) if all(members) else ()
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and (kind is type(None) or issubclass(kind, eqx.Module)):
        return (kind,)
    return ()
