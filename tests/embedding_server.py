"""A small embedding service over the OpenAI protocol, which answers as a test wants: well, late, or wrongly.

Its vectors are sums of word vectors that a seed draws: another seed is another model. As a program,
``python -m tests.embedding_server '{"wait_s": 0.1}'``, it prints its address and serves until its input ends.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

KEY = "sk-KEYMARKER-8842"


@dataclass
class Asked:
    """One request as it came, and what became of it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at_s: float
    status: int = 0
    tokens: int = 0

    @property
    def texts(self) -> list[str]:
        texts = self.body.get("input", [])
        return [texts] if isinstance(texts, str) else texts


@dataclass
class Reply:
    """What the server sends instead of vectors: ``body`` as JSON, or bytes; ``half`` closes in the middle of it."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    half: bool = False


#: Decides about a request; None lets it be answered well.
Behaviour = Callable[[Asked], Reply | None]


@lru_cache(maxsize=100_000)
def _word(word: str, seed: int, dimension: int) -> np.ndarray:
    return np.random.default_rng([zlib.crc32(word.encode()), seed]).normal(size=dimension)


def vector_of(text: str, seed: int, dimension: int) -> np.ndarray:
    """The vector of a text, shape (dimension,), of any length."""
    total = np.full(dimension, 1e-3)
    for word in text.lower().split():
        total = total + _word(word.strip(".,:"), seed, dimension)
    return total.astype(np.float32)


@dataclass
class EmbeddingServer:
    """Its model, its rules, and what it was asked. The attributes may be changed while it runs."""

    seed: int = 1
    dimension: int = 16
    key: str | None = KEY
    model: str = "small"
    wait_s: float = 0.0
    texts_max: int = 2048
    base64: bool = True
    by_words: bool = True
    behaviour: Behaviour = lambda asked: None
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def settings(self, **changes: Any) -> dict[str, Any]:
        """A model of this service, for settings."""
        service = {"url": self.url, "key_env": "TEST_SERVICE_KEY", "patience": "20s", "timeout": "5s", **changes}
        return {"name": service.pop("name", self.model), "service": service}

    @property
    def tokens(self) -> int:
        """What it has counted."""
        return sum(each.tokens for each in self.asked)

    def answer(self, asked: Asked) -> Reply:
        if self.key is not None and asked.headers.get("authorization") != f"Bearer {self.key}":
            return Reply(401, {"error": {"message": "no such key", "code": "invalid_api_key"}})
        if asked.body.get("model") != self.model:
            return Reply(404, {"error": {"message": "no such model", "code": "model_not_found"}})
        if (reply := self.behaviour(asked)) is not None:
            return reply
        if len(asked.texts) > self.texts_max:
            return Reply(413, {"error": {"message": f"at most {self.texts_max} texts", "type": "batch_too_large"}})
        if not self.base64 and "encoding_format" in asked.body:
            return Reply(400, {"error": {"message": "encoding_format is not supported"}})
        vector = vector_of if self.by_words else _word
        dimension = asked.body.get("dimensions", self.dimension)
        vectors = [vector(text, self.seed, dimension).astype(np.float32) for text in asked.texts]
        asked.tokens = sum(len(text.split()) for text in asked.texts)
        return Reply(200, self.body(vectors, asked), wait_s=self.wait_s)

    def body(self, vectors: Sequence[np.ndarray], asked: Asked) -> dict[str, Any]:
        """An answer of the protocol."""
        packed = asked.body.get("encoding_format") == "base64"
        rows = [
            {
                "object": "embedding",
                "index": at,
                "embedding": base64.b64encode(each).decode() if packed else each.tolist(),
            }
            for at, each in enumerate(vectors)
        ]
        usage = {"prompt_tokens": asked.tokens, "total_tokens": asked.tokens}
        return {"object": "list", "data": rows, "model": self.model, "usage": usage}


@contextmanager
def embedding_server(**options: Any) -> Iterator[EmbeddingServer]:
    """A server on a free port of this machine, until the block ends."""
    served = EmbeddingServer(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.path, headers, body, time.monotonic())
            served.asked.append(asked)
            reply = served.answer(asked)
            asked.status = reply.status
            time.sleep(reply.wait_s)
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if reply.half else content)
                if reply.half:
                    self.close_connection = True
            except OSError:
                self.close_connection = True  # the client is gone

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was killed

    with Server(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with embedding_server(**json.loads(sys.argv[1])) as running:
        print(running.url, flush=True)
        sys.stdin.read()
