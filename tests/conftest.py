"""Strict settings for every test: 64-bit, no silent rank promotion, warnings are errors, shapes checked at run time.

Everything that must be set before JAX or the package is first imported stands at the top of this file, in order.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Environment variables, so that processes started by tests inherit them.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests are bound by compilation, a sixth of which is optimisation that they do not run long enough to repay, and some more is
# splitting a program among threads, which every worker has only one of. With its scheduler for concurrency, two batched matrix
# factorisations of one program may each wait for the thread that the other holds (jaxlib 0.10.1).
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
)
# The second run of the suite finds its programs here.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# Reading that cache logs two pseudo-features of the compiler as missing from the processor, once a program.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from jaxtyping import install_import_hook  # noqa: E402

# Must come before anything imports the package: every annotation in it is then checked at every call.
install_import_hook("homeostat", "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402

# Not an environment variable: processes started by tests run programs of third parties, which are not rank-clean.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key() -> jax.Array:
    """The fixed seed of every test."""
    return jax.random.key(20240229)


@pytest.fixture(autouse=True, scope="module")
def room_for_programs() -> Iterator[None]:
    """Forget compiled programs before the process runs out of memory maps.

    Every program takes some ten of them, Linux allows 65,530 a process, and the compiler ends with a segmentation fault there.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 30_000:
        jax.clear_caches()
        gc.collect()
