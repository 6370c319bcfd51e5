"""A bounded hand-over between two stages: one works ahead in a thread of its own while the other uses the results."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")

_RETRY_S = 0.2


@contextmanager
def run_ahead(
    items: Generator[Item, None, None], depth: int = 1, interrupt: Callable[[], None] = lambda: None
) -> Iterator[Iterator[Item]]:
    """Yield an iterator over ``items`` that are made in another thread, at most ``depth`` of them waiting.

    Order is kept. What the generator raises is raised where its next item would have come. Leaving the ``with``
    block, for whatever reason, stops the generator before its next item, closes it in its own thread, so that its
    ``finally`` blocks run, and waits for that; ``interrupt`` is called first, to wake a generator that waits itself.
    """
    worker = _Worker(items, depth)
    worker.start()
    try:
        yield worker.items()
    finally:
        worker.stop(interrupt)


class _Worker(Generic[Item]):
    def __init__(self, items: Generator[Item, None, None], depth: int) -> None:
        self._items = items
        self._ready: queue.Queue[tuple[Item] | None] = queue.Queue(depth)
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="run-ahead", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, interrupt: Callable[[], None]) -> None:
        self._stopping.set()
        interrupt()
        self._thread.join()

    def items(self) -> Iterator[Item]:
        while (ready := self._ready.get()) is not None:
            yield ready[0]
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            for item in self._items:
                self._put((item,))
                del item  # a batch of frames is not kept alive while the next one is made
                if self._stopping.is_set():
                    break
            self._items.close()
        except BaseException as error:  # noqa: BLE001  raised again where the next item is asked for
            self._failure = error
        self._put(None)

    def _put(self, ready: tuple[Item] | None) -> None:
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._ready.put(ready, timeout=_RETRY_S)
                return
