"""How many CPU threads the numeric libraries of this process use: numpy's BLAS, and the OpenMP of FAISS.

Neither reads the options of this program, and numpy has no call for its BLAS: without a limit both use every processor
beside the engines, which have a setting of their own. Answers do not depend on the number: products with a single
vector, which a BLAS divides among its threads in other ways than matrices, are avoided where numbers come out.
"""

from __future__ import annotations

from dataclasses import dataclass

from threadpoolctl import threadpool_info, threadpool_limits

from vidtag_cli.engines.onnxruntime_engine import usable_cpus
from vidtag_cli.gallery.search import import_faiss


@dataclass(frozen=True, slots=True)
class ThreadPool:
    """One library's threads, as it says itself after it was told: such as ``openblas`` 0.3.31 with 4."""

    library: str
    version: str | None
    threads: int


def limit_threads(threads: int | None) -> tuple[ThreadPool, ...]:
    """Let the libraries use so many threads, None: one for each processor this process may use; return what they do.

    Holds for the whole process; OpenMP counts for the calling thread and those it starts.
    """
    import_faiss()  # a library that is loaded later would not have heard of it
    threadpool_limits(threads or usable_cpus())
    pools = {
        ThreadPool(str(pool["internal_api"]), pool["version"], int(pool["num_threads"])) for pool in threadpool_info()
    }
    return tuple(sorted(pools, key=lambda pool: (pool.library, pool.version or "", pool.threads)))
