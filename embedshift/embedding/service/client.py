"""One request to a service: sent, tried again where that can help, and its answer checked.

The protocol is OpenAI's, ``POST /embeddings``, as its API reference describes it under "Embeddings"
(platform.openai.com/docs/api-reference/embeddings); Azure's differs in address and header. ``httpx2`` sends, and
``tenacity`` tries again.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event
from tenacity.wait import wait_random_exponential

from embedshift.embedding.service.allowance import Allowance
from embedshift.embedding.service.reason import code_of, reason_of
from embedshift.errors import ServiceRefused, ServiceUnavailable
from embedshift.settings import ModelSettings, ServiceSettings

if TYPE_CHECKING:
    import httpx2

#: The request may succeed later; the texts of this request may be at fault; a quota that waiting does not restore.
_LATER, _TEXTS, _NO_MONEY = (408, 409, 425), (400, 413, 422), "insufficient_quota"
#: Answers that are no answers: so many are borne in a row.
_BROKEN_MOST = 3
_CONNECT_S = 10.0
#: Seconds for which an address is tried at which nobody has answered yet.
_FIRST_S = 10.0
#: Seconds between two tries: at random, up to twice as long each time.
_WAIT_FIRST_S, _WAIT_MOST_S = 0.5, 30.0
#: The longest wait that a service may ask for; the most tokens of one request that are believed.
_WAIT_ASKED_S, _TOKENS_MOST = 30 * 86_400.0, 10**8


@dataclass(frozen=True, slots=True)
class Answer:
    """Vectors of shape (n, dimension), float32, in the order of the texts, and the tokens that the service counted."""

    vectors: NDArray[np.float32]
    tokens: int


class RefusedTexts(Exception):
    """The service refuses these texts together; ``args[0]`` is the reason, for people."""


class _TryLater(Exception):
    """No answer now: why, and the seconds that the service asks to wait."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.why, self.wait_s = why, wait_s


class _Broken(_TryLater):
    """An answer that is none."""


class _NoConnection(_TryLater):
    """Nobody listens there."""


class _Patience:
    """How long one request is tried again, and what is said of it meanwhile."""

    def __init__(self, deadline: float, tell: Callable[[str], None], first_deadline: float | None) -> None:
        self._deadline, self._tell, self._first_deadline = deadline, tell, first_deadline
        self._broken = 0
        self._jitter = wait_random_exponential(_WAIT_FIRST_S, _WAIT_MOST_S)

    def ends(self, state: RetryCallState) -> bool:
        """Whether there is no other try: the next one would come too late, or the answers are none."""
        error = _error(state)
        self._broken = self._broken + 1 if isinstance(error, _Broken) else 0
        if self._first_deadline is not None and isinstance(error, _NoConnection):
            # Nobody has ever answered there: the address is wrong, more likely than not.
            return time.monotonic() >= self._first_deadline
        return time.monotonic() + error.wait_s >= self._deadline or self._broken >= _BROKEN_MOST

    def wait_s(self, state: RetryCallState) -> float:
        """As long as the service asks, and a little more, so that not all come back at once."""
        jitter_s, asked_s = self._jitter(state), _error(state).wait_s
        if asked_s:
            return asked_s + min(jitter_s, _WAIT_FIRST_S)
        return max(0.0, min(jitter_s, self._deadline - time.monotonic()))

    def tell(self, state: RetryCallState) -> None:
        """Say why it takes long."""
        self._tell(_error(state).why)


def _error(state: RetryCallState) -> _TryLater:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, _TryLater)
    return error


class ServiceClient:
    """Asks one service for vectors. Threads share it.

    Args:
        settings: of the model, with its service.
    """

    def __init__(self, settings: ModelSettings, service: ServiceSettings) -> None:
        self._name, self._service = settings.name, service
        self.host = urlsplit(service.url).hostname or ""
        self._base64 = True
        self._lock, self._closed, self._answered = Lock(), Event(), False
        self._opened: httpx2.Client | None = None

    def ask(
        self,
        texts: Sequence[str],
        fields: Sequence[tuple[str, Any]],
        tokens: int,
        allowance: Allowance,
        *,
        timeout_s: float,
        patience_s: float,
    ) -> Answer:
        """Ask until there is an answer.

        Args:
            texts: n texts, with their prompts.
            fields: further fields of the request.
            tokens: about how many they have.
            allowance: what the request is counted against.
            timeout_s: for one try.
            patience_s: for all of them.

        Raises:
            RefusedTexts: the service refuses these texts.
            ServiceRefused: it refuses every request.
            ServiceUnavailable: it has not answered in time.
        """
        began = time.monotonic()
        first = None if self._answered else began + min(_FIRST_S, patience_s)
        patience = _Patience(began + patience_s, lambda why: allowance.slowed(f"{self.host}: {why}"), first)
        tries = Retrying(
            retry=retry_if_exception_type(_TryLater),
            stop=patience.ends,
            wait=patience.wait_s,
            before_sleep=patience.tell,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            answer = tries(lambda: self._try(texts, fields, tokens, allowance, min(timeout_s, patience_s)))
        except _Broken as error:
            raise ServiceRefused(
                f"{self.host} does not speak the embeddings protocol: {error.why}", hint="check model.service.url"
            ) from None
        except _TryLater as error:
            raise ServiceUnavailable(
                f"{self.host} gives no vectors within {time.monotonic() - began:.0f} s: {error.why}",
                hint="find out why, and run the same command again; model.service.patience lets it wait longer",
            ) from None
        self._answered = True
        allowance.slowed("")
        return answer

    def _try(
        self,
        texts: Sequence[str],
        fields: Sequence[tuple[str, Any]],
        tokens: int,
        allowance: Allowance,
        timeout_s: float,
    ) -> Answer:
        import httpx2

        body: dict[str, Any] = {"model": self._name, "input": list(texts), **dict(fields)}
        if packed := self._base64:
            body["encoding_format"] = "base64"
        if self._service.dimensions is not None:
            body["dimensions"] = self._service.dimensions
        headers = self._headers
        allowance.reserve(tokens)
        try:
            limits = httpx2.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
            status, said, content = self._post(body, headers, limits, time.monotonic() + timeout_s)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            allowance.settle(tokens, 0)  # nothing was sent
            raise _NoConnection(f"no connection ({type(error).__name__})") from None
        except httpx2.TimeoutException:
            # It may be computed, and paid for, all the same: what was reserved stays spent.
            raise _TryLater(f"no answer within {timeout_s:g} s") from None
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise _TryLater(f"the connection broke ({type(error).__name__})") from None
        except (ValueError, OSError, ImportError, httpx2.InvalidURL) as error:
            allowance.settle(tokens, 0)
            raise ServiceRefused(
                f"{self.host} cannot be asked ({type(error).__name__})",
                hint="check model.service.url, and the variables of the environment for proxies and certificates",
            ) from None
        if status != httpx2.codes.OK:
            allowance.settle(tokens, 0)
            if packed and status in _TEXTS and b"encoding_format" in content:
                self._base64 = False  # from now on the vectors come as lists of numbers
                return self._try(texts, fields, tokens, allowance, timeout_s)
            raise self._refused(status, said, content, texts)
        try:
            answer = _answer(content, len(texts), tokens)
        except _Broken:
            # It was computed, well or not.
            allowance.settle(tokens, tokens)
            raise
        allowance.settle(tokens, answer.tokens)
        return answer

    def _post(
        self, body: dict[str, Any], headers: dict[str, str], limits: httpx2.Timeout, deadline: float
    ) -> tuple[int, httpx2.Headers, bytes]:
        """Send a request. Returns status, headers and content of its answer, which must have ended by the deadline."""
        import httpx2

        content = bytearray()
        with self._http.stream("POST", self._address, json=body, headers=headers, timeout=limits) as response:
            for part in response.iter_bytes():
                content += part
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the answer does not end")
        return response.status_code, response.headers, bytes(content)

    def _refused(self, status: int, headers: httpx2.Headers, body: bytes, texts: Sequence[str]) -> Exception:
        """What a status means that is not 200."""
        reason = reason_of(status, body, texts)
        if status == 429:
            if code_of(body) == _NO_MONEY:
                return self._refusal(status, reason)
            wait_s = _retry_after(headers)
            told = f", asks to wait {wait_s:g} s" if wait_s else ""
            return _TryLater(f"too many requests (429){told}", wait_s)
        if status in _LATER or status >= 500:
            return _TryLater(reason, _retry_after(headers))
        return RefusedTexts(reason) if status in _TEXTS else self._refusal(status, reason)

    def _refusal(self, status: int, reason: str) -> ServiceRefused:
        if status in (401, 403):
            name = self._service.key_env
            hint = f"check the key in ${name}" if name else "name the variable that has the key: model.service.key_env"
            return ServiceRefused(f"{self.host} refuses the key ({reason})", hint=hint)
        if status == 404:
            return ServiceRefused(
                f"{self.host} has no model {self._name} at that address ({reason})",
                hint="check model.name and model.service.url",
            )
        if 300 <= status < 400:
            return ServiceRefused(
                f"{self.host} sends us elsewhere ({reason})", hint="set model.service.url to the address itself"
            )
        return ServiceRefused(f"{self.host} refuses every request ({reason})", hint="ask who runs the service")

    @cached_property
    def _address(self) -> str:
        at = self._service
        if at.deployment is None:
            return f"{at.url}/embeddings"
        return f"{at.url}/openai/deployments/{at.deployment}/embeddings?api-version={at.api_version}"

    @cached_property
    def _key(self) -> str:
        name = self._service.key_env
        if name is None:
            return ""
        key = os.environ.get(name, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            fault = "is not set" if not key else "holds no key"
            raise ServiceRefused(
                f"the environment variable {name} {fault}, and {self.host} needs a key",
                hint=f"set {name} for this process, and for the workers of Spark on other machines",
            )
        return key

    def close(self) -> None:
        """Close its connections for good."""
        with self._lock:
            self._closed.set()
            if self._opened is not None:
                self._opened.close()

    @property
    def _headers(self) -> dict[str, str]:
        if not self._key:
            return {}
        return {"api-key": self._key} if self._service.deployment else {"Authorization": f"Bearer {self._key}"}

    @property
    def _http(self) -> httpx2.Client:
        import httpx2

        with self._lock:
            if self._closed.is_set():
                raise ServiceUnavailable(f"the connections to {self.host} are closed", hint="open the model again")
            if self._opened is None:
                for name in ("httpx2", "httpcore2"):
                    logging.getLogger(name).setLevel(logging.WARNING)
                most = httpx2.Limits(max_connections=None, max_keepalive_connections=self._service.concurrency)
                # A proxy of the environment is for other machines.
                self._opened = httpx2.Client(limits=most, trust_env=not self._service.is_local)
            return self._opened


def _retry_after(headers: httpx2.Headers) -> float:
    """The seconds that a service asks to wait, RFC 9110, 10.2.3: a number, or a moment; 0 if it does not say."""
    text = headers.get("retry-after", "")
    try:
        return min(max(0.0, float(text)), _WAIT_ASKED_S) if float(text) == float(text) else 0.0
    except ValueError:
        pass
    try:
        return min(max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time()), _WAIT_ASKED_S)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _answer(body: bytes, n: int, tokens: int) -> Answer:
    """The vectors of an answer, in the order of the texts. Raises _Broken if it is not one."""
    try:
        tree = json.loads(body)
        found = tree["data"]
        rows = {each.get("index", at): each["embedding"] for at, each in enumerate(found)}
        if len(found) != n or sorted(rows) != list(range(n)):
            raise _Broken(f"{len(found)} vectors for {n} texts, or not one for each")
        vectors = [_vector(rows[at]) for at in range(n)]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, binascii.Error):
        raise _Broken("an answer that cannot be read") from None
    if len({each.shape for each in vectors}) != 1 or not vectors[0].size:
        raise _Broken("vectors of several dimensions in one answer")
    usage = tree.get("usage")
    used = usage.get("total_tokens", usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    return Answer(np.stack(vectors), used if isinstance(used, int) and 0 < used <= _TOKENS_MOST else tokens)


def _vector(value: Any) -> NDArray[np.float32]:
    """One vector: base64 of little-endian float32, or a list of numbers."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
    vector = np.asarray(value, np.float64)
    if vector.ndim != 1:
        raise ValueError("not a list of numbers")
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite
        return vector.astype(np.float32)
