"""A range embedded by a service, compared with a loop of the bare HTTP client that has as many requests in flight.

The service is a process of its own that answers each request after a tenth of a second, so that waiting decides.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import numpy as np

from benchmarks.corpus import log_normal, texts
from benchmarks.pairs import Result, in_pairs
from benchmarks.scenes import DIMENSION, fill, scene
from tests.world import World

#: Seconds until the service answers, texts of one request, and requests in flight.
_WAIT_S, _TEXTS, _CONCURRENCY = 0.1, 64, 8


def measure(*, quick: bool) -> list[Result]:
    """One task, on the embedded store."""
    articles = log_normal(4_096 if quick else 16_384)
    documents = texts(articles)
    with _service() as url:
        model = {
            "name": "bench",
            "service": {"url": url, "batch_texts": _TEXTS, "batch_tokens": 10**9, "concurrency": _CONCURRENCY},
        }
        with (
            scene("embedded", "bench", target={"model": model}, load={"ranges": 1}) as world,
            httpx2.Client() as client,
        ):
            fill(world, articles, vectors=False)
            world.step("prepare")
            rates, others = in_pairs(
                lambda: len(documents) / _carried(world),
                lambda: len(documents) / _looped(client, url, documents),
                1 if quick else 3,
            )
    return [
        Result(
            "a range by way of a service",
            f"a loop of httpx2, {_CONCURRENCY} requests of {_TEXTS} texts in flight, which reads and writes nothing",
            "documents/s",
            rates,
            others,
            0.9,
            note=f"the service answers after {_WAIT_S:g} s; ours reads the rows, proves each answer and writes",
        )
    ]


def _carried(world: World) -> float:
    world.step("abort")
    world.step("prepare")
    started = time.perf_counter()
    world.carry("load")
    return time.perf_counter() - started


def _looped(client: httpx2.Client, url: str, documents: list[str]) -> float:
    def ask(at: int) -> np.ndarray:
        body = {"model": "bench", "input": documents[at : at + _TEXTS], "encoding_format": "base64"}
        rows = client.post(f"{url}/embeddings", json=body, timeout=60).json()["data"]
        return np.array([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])

    started = time.perf_counter()
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        found = np.concatenate(list(pool.map(ask, range(0, len(documents), _TEXTS))))
    assert found.shape == (len(documents), DIMENSION)
    return time.perf_counter() - started


@contextmanager
def _service() -> Iterator[str]:
    options = json.dumps({"key": None, "model": "bench", "dimension": DIMENSION, "wait_s": _WAIT_S, "by_words": False})
    with subprocess.Popen(
        [sys.executable, "-m", "tests.embedding_server", options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()  # its end
            server.wait(30)
