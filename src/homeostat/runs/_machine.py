"""What a result was made with: versions, the machine (no host name, no path), and the compilation cache."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._version import __version__
from ._terminal import AbstractTerminal

_PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpyro", "cuthbert", "gymnasium", "numpy", "matplotlib")


def version() -> str:
    """The version of this package."""
    return __version__


def versions() -> dict[str, str]:
    """Versions of Python, this package and what its numbers depend on."""
    found = {"python": platform.python_version(), "homeostat": __version__}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory, the accelerator and the operating system."""
    import jax

    accelerators = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu(),
        "cores": len(affinity(0)) if affinity is not None else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "accelerator": f"{len(accelerators)} x {accelerators[0]}" if accelerators else "none",
        "os": _system(),
    }


def precision() -> int:
    """Bits of the default floating-point type."""
    import jax.numpy as jnp

    return int(jnp.finfo(jnp.result_type(float)).bits)


def _system() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return platform.system()


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return None


_IN_ORDER = "--xla_cpu_enable_concurrency_optimized_scheduler"


def quiet_runtime() -> None:
    """Prepare the runtime: silence its log, and keep it from waiting for itself; call it before JAX starts its backend.

    With compiled programs kept, XLA prints two screens of errors for every program that it reads back, on the very
    machine that wrote it: it compares tuning hints (`prefer-no-gather`) with the processor's features. `cache_folder`
    keeps processors apart, which is what the message worries about. A level that the user has set stays.

    Two batched matrix factorisations that do not depend on each other, as in expectation maximisation, now and then waited
    for each other for ever: each held threads of XLA's pool that the other needed. A scheduler that does not run them side
    by side avoids it. A choice that the user has made in `XLA_FLAGS` stays.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags = os.environ.get("XLA_FLAGS", "")
    if _IN_ORDER not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_IN_ORDER}=false".strip()


def cache_folder() -> Path:
    """Where compiled programs are kept: a folder for this kind of processor in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "homeostat" / "xla" / _processor_mark()


def _processor_mark() -> str:
    """A short text that differs between processors whose instructions differ."""
    described = platform.machine() + _cpu()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        described += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(described.encode()).hexdigest()[:12]


@contextlib.contextmanager
def compilation_cache(enabled: bool, terminal: AbstractTerminal) -> Iterator[None]:
    """Keep compiled programs between processes for the length of the block, or switch that off.

    A cache folder that the user chose for JAX itself (`JAX_COMPILATION_CACHE_DIR`) is left as it is.
    """
    import jax

    values: dict[str, Any] = {"jax_enable_compilation_cache": enabled}
    if enabled and not getattr(jax.config, "jax_compilation_cache_dir"):  # noqa: B009 - it is not declared
        try:
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except (OSError, RuntimeError) as error:
            terminal.warn(f"compiled programs are not kept, because the cache folder cannot be written ({error}).")
        else:
            # The default thresholds keep almost nothing of what a CPU compiles; these keep everything.
            values |= {
                "jax_compilation_cache_dir": str(folder),
                "jax_persistent_cache_min_compile_time_secs": 0,
                "jax_persistent_cache_min_entry_size_bytes": -1,
            }
    before = {name: getattr(jax.config, name) for name in values}
    for name, value in values.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
