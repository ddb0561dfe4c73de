"""How texts become requests: by number and by tokens, which are estimated until the service has counted some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock

#: Bytes of a token, before the service has counted any: fewer than usual, so that too much is reserved.
BYTES_A_TOKEN = 3.0
#: How much more than the mean is reserved, and how much the newest count weighs.
_MARGIN, _NEWEST = 1.15, 0.2


class RequestSizes:
    """How large requests may be, and about how many tokens texts have, as the service has shown. Threads share it.

    Args:
        texts_max: texts of one request.
        tokens_max: tokens of one request.
    """

    def __init__(self, texts_max: int, tokens_max: int) -> None:
        self._texts_max, self._tokens_max = texts_max, tokens_max
        self._per_byte = 1 / BYTES_A_TOKEN
        self._known = False
        self._lock = Lock()

    def tokens(self, texts: Sequence[str]) -> int:
        """About how many tokens some texts have together, rather too many than too few."""
        return max(1, round(sum(len(text.encode()) for text in texts) * self._per_byte * _MARGIN))

    def learn(self, texts: Sequence[str], tokens: int) -> None:
        """The service has counted the tokens of some texts."""
        size = sum(len(text.encode()) for text in texts)
        if size and tokens > 0:
            with self._lock:
                weight = _NEWEST if self._known else 1.0
                self._per_byte += weight * (tokens / size - self._per_byte)
                self._known = True

    def too_large(self, texts: int) -> None:
        """The service refused so many texts at once, and took them in two halves."""
        with self._lock:
            self._texts_max = min(self._texts_max, max(1, texts // 2))

    def cut(self, texts: Sequence[str]) -> Iterator[slice]:
        """Cut texts, in their order, into requests; one that is longer than a request may be is one of its own."""
        start = tokens = 0
        for at, text in enumerate(texts):
            more = self.tokens([text])
            if at > start and (at - start >= self._texts_max or tokens + more > self._tokens_max):
                yield slice(start, at)
                start, tokens = at, 0
            tokens += more
        if start < len(texts):
            yield slice(start, len(texts))
