"""Strict settings for every test: 64-bit, no silent rank promotion, warnings are errors, shapes checked at run time.

Everything that must be set before JAX or the package is first imported stands at the top of this file, in order.
"""

import ctypes
import functools
import gc
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Environment variables, so that processes started by tests inherit them.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests are bound by compilation, a sixth of which is optimisation that they do not run long enough to repay, and some more is
# splitting a program among threads, which every worker has only one of. The emitters of fusions take half of the compilation of a
# small program. With its scheduler for concurrency, two batched matrix factorisations of one program may each wait for the thread
# that the other holds (jaxlib 0.10.1).
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_cpu_enable_concurrency_optimized_scheduler=false --xla_cpu_use_fusion_emitters=false",
)
# The second run of the suite finds its programs here.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# Reading that cache logs two pseudo-features of the compiler as missing from the processor, once a program.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from jaxtyping import install_import_hook  # noqa: E402

SHAPED = (
    "core",
    "nn",
    "distributions",
    "flows",
    "models",
    "environments",
    "objectives",
    "inference",
    "control",
    "agents",
)
"""Packages whose subject is shapes: their annotations are checked at every call."""

# Rewriting the assertions of all tests takes a worker ten seconds, so what came of it is kept, whatever the environment says.
sys.dont_write_bytecode = False

# Must come before anything imports the package.
install_import_hook([f"homeostat.{package}" for package in SHAPED], "checks.on_first_call")

import jax  # noqa: E402
import pytest  # noqa: E402
from jax._src.interpreters import mlir  # noqa: E402

# JAX makes one context of its compiler for every program and loads all dialects into it: some 5 ms, a fifth of the time of the whole
# suite, whose programs are many and small. One context serves a process until `room_for_programs` wants its memory.
compiler_context = mlir.make_ir_context = functools.cache(mlir.make_ir_context)

# Not an environment variable: processes started by tests run programs of third parties, which are not rank-clean.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key() -> jax.Array:
    """The fixed seed of every test."""
    return jax.random.key(20240229)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--count-programs",
        nargs="?",
        const=40,
        type=int,
        metavar="N",
        help="costs of each file and the N dearest tests",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--count-programs"):
        from programs import ProgramCounter

        config.pluginmanager.register(ProgramCounter(config.getoption("--count-programs")))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as `slow` what `slow.txt` lists."""
    tests = ROOT / "tests"
    lines = (tests / "slow.txt").read_text(encoding="utf-8").splitlines()
    listed, found = {line for line in lines if line and not line.startswith("#")}, set()
    for item in items:
        name = f"{item.path.relative_to(tests).as_posix()}::{item.nodeid.partition('::')[2]}"
        for line in listed & {name, name.partition("[")[0]}:
            item.add_marker(pytest.mark.slow)
            found.add(line)
    if config.args == config.getini("testpaths") and found != listed:
        raise pytest.UsageError(f"tests/slow.txt names tests that do not exist: {', '.join(sorted(listed - found))}")


MOST_BYTES, MOST_MAPS = 1.1e9, 30_000
"""Resident memory and memory maps from which compiled programs are forgotten.

A program takes some ten maps, Linux allows 65,530 a process, and the compiler ends with a segmentation fault there."""


def memory() -> tuple[float, int]:
    """Bytes in memory and number of memory maps; the latter is unknown without `/proc`."""
    if Path("/proc/self/maps").exists():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize(), Path("/proc/self/maps").read_bytes().count(b"\n")
    # On macOS the peak is in bytes; only what has been above the limit asks how much there is now.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if peak < MOST_BYTES:
        return peak, 0
    kilobytes = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=True).stdout
    return 1024.0 * int(kilobytes), 0


@pytest.fixture(autouse=True)
def room_for_programs() -> Iterator[None]:
    """Forget compiled programs before they fill the memory or the table of memory maps."""
    yield
    size, maps = memory()
    if size > MOST_BYTES or maps > MOST_MAPS:
        jax.clear_caches()
        compiler_context.cache_clear()
        gc.collect()
        # What was freed stays with the C library otherwise.
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
