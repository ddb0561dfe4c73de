"""A model that a service has. It has no weights to hash: its answers to fixed texts prove which model it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding.contract import Embedded, Precision, Prompts, Task, Texts, finished
from embedshift.embedding.service.allowance import Allowance, Unlimited
from embedshift.embedding.service.client import RefusedTexts, ServiceClient
from embedshift.embedding.service.fixed_texts import CHEAP, SHORT, TEXTS, cosine
from embedshift.embedding.service.pool import Pool
from embedshift.embedding.service.requests import RequestSizes
from embedshift.errors import (
    EmbedshiftError,
    InputError,
    ModelChanged,
    ModelUnavailable,
    ServiceRefused,
    ServiceUnavailable,
)
from embedshift.settings import ModelSettings, ServiceSettings

#: The vectors of the fixed texts in one role by their numbers, shape (dimension,); None if the service refuses a text.
Answers = Mapping[int, NDArray[np.float32] | None]
#: How many of the fixed texts are compared by whoever opens the model.
_SOME = 3
#: Questions whose vectors a run keeps.
_QUESTIONS_MAX = 10_000
#: The fields of both roles.
_ROLES: tuple[Task, Task] = ("document", "query")


class ServiceModel:
    """A model behind HTTP: a ``Model`` whose texts are embedded by requests, several of them in flight.

    With every request goes one of the fixed texts. If its vector is not the recorded one, the whole answer is thrown
    away: so a provider that changes its model is noticed in the middle of a run, too.
    """

    precision: Precision = "float32"
    max_length: int | None = None
    counts_tokens = False

    def __init__(self, settings: ModelSettings, service: ServiceSettings) -> None:
        self.settings, self.service = settings, service
        self.prompts = Prompts(settings.query_prompt or "", settings.document_prompt or "")
        self.fingerprint = ""
        self.client = ServiceClient(settings, service)
        self._answers: Mapping[Task, Answers] = {}
        self._uncounted = Unlimited()
        self._allowance: Allowance = self._uncounted
        self._sizes = RequestSizes(service.batch_texts, service.batch_tokens)
        self._turn = itertools.count()
        self._pool = Pool(service.concurrency)
        self._question_s: float | None = service.question_timeout.total_seconds()
        self._known_questions: dict[str, NDArray[np.float32]] | None = None

    def under(self, allowance: Allowance) -> ServiceModel:
        """The same model for a run, whose requests are counted.

        Its questions may take as long as documents. One that it asks again, as a validation does, is paid for once.
        """
        other = copy(self)
        other._allowance, other._question_s, other._known_questions = allowance, None, {}
        return other

    def take_uncounted(self) -> tuple[int, int]:
        """Requests and tokens of this process that were counted against no run, and forget them."""
        counted = self._uncounted.requests, self._uncounted.tokens
        self._uncounted.requests = self._uncounted.tokens = 0
        return counted

    def known_as(self, fingerprint: str, answers: Mapping[Task, Answers]) -> None:
        """From now on it has this fingerprint, and must answer as it did when that was given."""
        self.fingerprint, self._answers = fingerprint, answers
        self.__dict__.pop("dimension", None)

    def close(self) -> None:
        """End its threads and close its connections."""
        self.client.close()
        self._pool.close()

    @property
    def how(self) -> str:
        """How it is computed, for people."""
        return f"embedded by {self.client.host}"

    @cached_property
    def dimension(self) -> int:
        """Of every vector; the service is asked if nobody knows it yet."""
        return self._known_dimension or self.service.dimensions or self._first_dimension()

    def _first_dimension(self) -> int:
        vector = self._answered([0], "document")[0]
        assert vector is not None
        return len(vector)

    def use_threads(self, threads: int) -> None:
        """Do nothing: the service computes."""

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Raises ModelUnavailable: only the service can count, and only what it embeds."""
        raise ModelUnavailable(f"{self.client.host} does not count tokens of texts that it does not embed")

    # Texts.

    def embed(self, texts: Sequence[str], batch_tokens: int | None = None) -> Embedded:
        """Embed documents, as ``Model`` says; ``batch_tokens`` does not matter."""
        return self.embed_texts(self.tokenized(texts), batch_tokens)

    def tokenized(self, documents: Sequence[str]) -> Texts:
        """Documents whose requests are under way, so that a service never waits for the next ones."""
        texts = Texts.of(documents)
        sent = [self._sent(text, "document") for text in texts.unique]
        cuts = list(self._sizes.cut(sent))
        texts.requests = [self._pool.submit(partial(self._embedded, sent[each], "document")) for each in cuts]
        return texts

    def embed_texts(
        self, texts: Texts, batch_tokens: int | None = None, told: Callable[[int], object] | None = None
    ) -> Embedded:
        """Wait for the answers, as ``Model`` says."""
        if not texts.unique:
            return Embedded(np.zeros((0, self.dimension), np.float32))
        parts: list[NDArray[np.float32]] = []
        faults: dict[int, str] = {}
        at = 0
        try:
            for request in texts.requests:
                part = request.result()
                parts.append(part.vectors)
                faults |= {at + row: reason for row, reason in part.faults.items()}
                at += len(part.vectors)
                if told is not None:
                    told(len(part.vectors))
        except EmbedshiftError:
            texts.cancel()
            raise
        embedded = finished(np.concatenate(parts), normalize=self.settings.normalize)
        embedded.faults |= faults
        return texts.in_place(embedded)

    def embed_question(self, question: str) -> NDArray[np.float32]:
        """Embed one question within ``service.question_timeout``. Errors as ``Model`` says."""
        if not question.strip():
            raise InputError("the question is empty", hint="ask with at least one word")
        known = self._known_questions
        if known is not None and question in known:
            return known[question]
        try:
            sent = self._sent(question, "query")
            sent.encode()
        except UnicodeEncodeError:
            raise InputError("the question is no text that can be sent") from None
        embedded = self._within(partial(self._embedded, [sent], "query", limit_s=self._question_s))
        embedded = Embedded(finished(embedded.vectors, normalize=self.settings.normalize).vectors, embedded.faults)
        if embedded.faults or not embedded.vectors.any():
            raise InputError(f"the question cannot be embedded ({embedded.faults.get(0, 'its vector is no vector')})")
        vector: NDArray[np.float32] = embedded.vectors[0]
        if known is not None and len(known) < _QUESTIONS_MAX:
            known[question] = vector
        return vector

    def _within(self, work: Callable[[], Embedded]) -> Embedded:
        """Work that an application waits for: no longer than ``question_timeout``, whatever the service does."""
        if self._question_s is None:
            return work()
        try:
            return self._pool.submit(work).result(self._question_s)
        except TimeoutError:
            raise ServiceUnavailable(
                f"{self.client.host} gives no vector within {self._question_s:g} s",
                hint="model.service.question_timeout lets a question wait longer",
            ) from None

    def _sent(self, text: str, task: Task) -> str:
        """A text as it is sent."""
        return (self.prompts.before(task) + text)[: self.service.max_characters]

    def _embedded(self, sent: Sequence[str], task: Task, *, limit_s: float | None = None) -> Embedded:
        """The vectors of some texts in one request; halved, if the service refuses it, down to the texts at fault."""
        try:
            return Embedded(self._proven(sent, task, limit_s))
        except RefusedTexts as refusal:
            if len(sent) == 1:
                return self._refused(task, limit_s, str(refusal))
        half = len(sent) // 2
        left = self._embedded(sent[:half], task, limit_s=limit_s)
        right = self._embedded(sent[half:], task, limit_s=limit_s)
        if not left.faults and not right.faults:
            self._sizes.too_large(len(sent))
        moved = {row + half: reason for row, reason in right.faults.items()}
        return Embedded(np.concatenate([left.vectors, right.vectors]), left.faults | moved)

    def _refused(self, task: Task, limit_s: float | None, reason: str) -> Embedded:
        """The fault of one text, if it is at fault: two fixed texts must be answered where it was refused with one."""
        try:
            self._proven([self._sent(SHORT[0], task)], task, limit_s)
        except RefusedTexts:
            raise ServiceRefused(
                f"{self.client.host} refuses every text, or more than one at a time ({reason})",
                hint="check model.name and model.service; with each text goes a fixed one, which proves the model",
            ) from None
        return Embedded(np.zeros((1, self.dimension), np.float32), {0: f"the service refused it: {reason}"})

    def _proven(self, sent: Sequence[str], task: Task, limit_s: float | None) -> NDArray[np.float32]:
        """The vectors of an answer in which one of the fixed texts has the vector that was recorded."""
        recorded = self._answers.get(task, {})
        usable = [number for number in range(len(SHORT)) if recorded.get(number) is not None] or range(len(SHORT))
        number = usable[next(self._turn) % len(usable)]
        vectors = self._asked([*sent, self._sent(SHORT[number], task)], task, limit_s)
        self._compare({number: vectors[-1]}, recorded)
        return vectors[:-1]

    def _asked(self, sent: Sequence[str], task: Task, limit_s: float | None = None) -> NDArray[np.float32]:
        """The vectors of one request. Raises RefusedTexts, and what ``ServiceClient.ask`` raises."""
        service, sizes = self.service, self._sizes
        answer = self.client.ask(
            sent,
            service.query_fields if task == "query" else service.document_fields,
            sizes.tokens(sent),
            self._allowance,
            timeout_s=limit_s or service.timeout.total_seconds(),
            patience_s=limit_s or service.patience.total_seconds(),
        )
        sizes.learn(sent, answer.tokens)
        got, wanted = answer.vectors.shape[1], service.dimensions or self._known_dimension
        if wanted is not None and got != wanted:
            raise ModelChanged(
                f"{self.client.host} answers with {got} dimensions, and {self.settings.name} has {wanted}",
                hint="check model.name and model.service.dimensions, or ask the provider what has changed",
            )
        return answer.vectors

    @property
    def _known_dimension(self) -> int | None:
        vectors = (vector for answers in self._answers.values() for vector in answers.values())
        return next((len(vector) for vector in vectors if vector is not None), None)

    # Which model it is.

    def answers(self, numbers: Collection[int] = range(len(TEXTS))) -> dict[Task, Answers]:
        """What it answers now to some of the fixed texts, in both roles.

        Raises:
            ServiceRefused: it answers to none of them.
        """
        documents = self._answered(numbers, "document")
        service, prompts = self.service, self.prompts
        alike = prompts.query == prompts.document and service.query_fields == service.document_fields
        return {"document": documents, "query": documents if alike else self._answered(numbers, "query")}

    def _answered(self, numbers: Collection[int], task: Task) -> Answers:
        found: dict[int, NDArray[np.float32] | None] = {}
        reason = ""
        together = [list(numbers)]
        while together:
            part = together.pop()
            try:
                vectors = self._asked([self._sent(TEXTS[number], task) for number in part], task)
                found |= dict(zip(part, finished(vectors, normalize=self.settings.normalize).vectors, strict=True))
            except RefusedTexts as refusal:
                reason = str(refusal)
                if len(part) == 1:
                    found[part[0]] = None
                else:
                    together += [[number] for number in part]
        if all(vector is None for vector in found.values()):
            raise ServiceRefused(
                f"{self.client.host} refuses every text ({reason})", hint="check model.name and model.service"
            )
        return found

    def agrees(self, answers: Mapping[Task, Answers], recorded: Mapping[Task, Answers]) -> bool:
        """Whether answers are those that were recorded, as far as ``service.agreement`` asks."""
        try:
            for task in _ROLES:
                self._compare(answers[task], recorded[task])
        except ModelChanged:
            return False
        return True

    def prove(self, fingerprint: str, recorded: Mapping[Task, Answers], numbers: Collection[int] | None = None) -> None:
        """Find out whether this is the model that was given a fingerprint, by some of the fixed texts.

        Args:
            fingerprint: that of the record.
            recorded: the answers to all fixed texts, as they were recorded with it.
            numbers: of the texts that are asked for; None: some.

        Raises:
            ModelChanged: it is another one.
            ModelUnavailable: there is no record of answers, or the service does not answer.
        """
        if not recorded:
            raise ModelUnavailable(
                f"the catalog has no answers of {self.settings.name} to compare with",
                hint="use the catalog in which it was recorded",
            )
        if numbers is None:
            numbers = np.random.default_rng().choice(CHEAP, _SOME, replace=False).tolist()
        answers = self.answers(numbers)
        for task in _ROLES:
            self._compare(answers[task], recorded[task])
        self.known_as(fingerprint, recorded)

    def _compare(self, answers: Answers, recorded: Answers) -> None:
        for number, now in answers.items():
            if number not in recorded:
                continue
            then = recorded[number]
            if now is None or then is None:
                agrees, found = now is then, "a text is answered that was refused, or refused that was answered"
            else:
                with np.errstate(invalid="ignore", over="ignore"):
                    alike = cosine(now, then)
                agrees, found = alike >= self.service.agreement, f"a fixed text has cosine {alike:.4f} to then"
            if not agrees:
                raise ModelChanged(
                    f"{self.client.host} answers with another model than the recorded {self.settings.name}: {found}",
                    hint="ask the provider what has changed; nothing of that answer was used",
                )
