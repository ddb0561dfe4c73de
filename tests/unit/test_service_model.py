"""A model behind HTTP: every kind of answer, and what becomes of it. Invariants 9, 10 and 11."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from embedshift.catalog.service_models import answers_of, identify
from embedshift.catalog.setup import ensure_catalog
from embedshift.embedding import ServiceModel
from embedshift.embedding.service.reason import reason_of
from embedshift.errors import (
    EmbedshiftError,
    InputError,
    ModelChanged,
    ServiceRefused,
    ServiceUnavailable,
    SettingsError,
)
from embedshift.settings import ModelSettings, StoreSettings, parse_settings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from tests.embedding_server import KEY, Asked, EmbeddingServer, Reply, embedding_server, vector_of

#: A word of a text that must never be shown.
MARKER = "TEXTMARKER-5512"
TEXTS = [f"bread number {n} and a river" for n in range(10)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SERVICE_KEY", KEY)


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as served:
        yield served


@pytest.fixture
def store(tmp_path: Any) -> Iterator[Store]:
    opened = open_store(StoreSettings(path=tmp_path / "catalog.sqlite"))
    ensure_catalog(opened)
    yield opened
    opened.close()


#: Models of a test, which closes them.
_made: list[ServiceModel] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def service_model(settings: ModelSettings) -> ServiceModel:
    assert settings.service is not None
    _made.append(ServiceModel(settings, settings.service))
    return _made[-1]


def model_of(server: EmbeddingServer, **changes: Any) -> ServiceModel:
    return service_model(ModelSettings(**server.settings(**changes)))


def known(server: EmbeddingServer, store: Store, **changes: Any) -> ServiceModel:
    model = model_of(server, **changes)
    identify(store, model)
    server.asked.clear()
    return model


def expected(server: EmbeddingServer, texts: list[str]) -> np.ndarray:
    vectors = np.array([vector_of(text, server.seed, server.dimension) for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def of(reply: Reply, *, times: int = 10**9, only: str = "") -> Any:
    """So many requests, those with a text perhaps, get this reply."""
    left = [times]

    def behave(asked: Asked) -> Reply | None:
        if only and not any(only in text for text in asked.texts):
            return None
        left[0] -= 1
        return reply if left[0] >= 0 else None

    return behave


# Vectors.


@pytest.mark.parametrize("packed", [True, False])
def test_vectors_come_in_the_order_of_the_texts_in_few_requests(server, packed):
    server.base64 = packed
    model = model_of(server, batch_texts=4)
    found = model.embed([*TEXTS, TEXTS[0]])
    np.testing.assert_allclose(found.vectors, expected(server, [*TEXTS, TEXTS[0]]), atol=1e-6)
    assert found.faults == {}
    # Each text once, and one fixed text with each request.
    assert sorted(len(asked.texts) for asked in server.asked if asked.status == 200) == [3, 5, 5]


def test_answers_may_be_in_any_order(server):
    def turned(asked: Asked) -> Reply:
        vectors = [vector_of(text, server.seed, server.dimension) for text in asked.texts]
        body = server.body(vectors, asked)
        body["data"].reverse()
        return Reply(200, body)

    server.behaviour = turned
    np.testing.assert_allclose(model_of(server).embed(TEXTS).vectors, expected(server, TEXTS), atol=1e-6)


def test_prompts_fields_and_dimensions_are_sent(server):
    settings = ModelSettings(
        query_prompt="Q: ",
        document_prompt="D: ",
        **server.settings(dimensions=8, query_fields={"input_type": "query"}, max_characters=9),
    )
    model = service_model(settings)
    assert model.dimension == 8
    assert len(model.embed_question("why bread rises")) == 8
    assert model.embed(["a long text about bread"]).vectors.shape == (1, 8)
    question, document = server.asked
    assert question.texts[0] == "Q: why br"
    assert question.body["input_type"] == "query"
    assert document.texts[0] == "D: a long"
    assert "input_type" not in document.body
    assert document.body["dimensions"] == 8


def test_azure_has_an_address_and_a_header_of_its_own(server):
    server.key = None
    at = {"url": f"http://127.0.0.1:{server.port}", "deployment": "large", "api_version": "2024-10-21"}
    model_of(server, **at).embed(["bread"])
    (asked,) = server.asked
    assert asked.path == "/openai/deployments/large/embeddings?api-version=2024-10-21"
    assert asked.headers["api-key"] == KEY
    assert "authorization" not in asked.headers


def test_several_requests_are_in_flight(server):
    server.wait_s = 0.2
    began = time.monotonic()
    model_of(server, batch_texts=1, concurrency=10).embed(TEXTS)
    assert time.monotonic() - began < 10 * server.wait_s


def test_a_batch_that_is_too_large_is_halved_and_the_next_ones_are_smaller(server):
    server.texts_max = 4
    model = model_of(server, concurrency=1)
    np.testing.assert_allclose(model.embed(TEXTS).vectors, expected(server, TEXTS), atol=1e-6)
    server.asked.clear()
    model.embed([f"another {text}" for text in TEXTS])
    assert max(len(asked.texts) for asked in server.asked) <= 6


def test_a_server_that_takes_one_text_at_a_time_cannot_be_proven(server, store):
    """Its answers could be another model's each time: a fixed text has to go with each."""
    server.texts_max = 1
    with pytest.raises(ServiceRefused, match="more than one at a time"):
        known(server, store).embed(TEXTS[:3])


# Faults of one text.


def test_a_text_that_the_service_refuses_is_a_fault_of_its_own_without_its_words(server):
    echo = {"error": {"message": f"cannot embed {MARKER} poison with {KEY}", "code": "bad_text"}}
    server.behaviour = of(Reply(400, echo), only="poison")
    found = model_of(server).embed([*TEXTS, f"{MARKER} poison"])
    assert found.faults == {10: "the service refused it: HTTP 400: bad_text"}
    np.testing.assert_allclose(found.vectors[:10], expected(server, TEXTS), atol=1e-6)


def test_what_a_service_says_of_a_text_is_kept_if_it_repeats_nothing(server):
    said = {"error": {"message": "This model's maximum context length is 8192 tokens"}}
    server.behaviour = of(Reply(400, said), only="poison")
    found = model_of(server).embed(["poison"])
    assert found.faults == {0: "the service refused it: HTTP 400: This model's maximum context length is 8192 tokens"}


def test_a_vector_that_is_not_finite_is_a_fault_of_its_text(server):
    def broken(asked: Asked) -> Reply:
        vectors = [vector_of(text, server.seed, server.dimension) for text in asked.texts]
        vectors = [each * np.nan if "poison" in text else each for each, text in zip(vectors, asked.texts, strict=True)]
        return Reply(200, server.body(vectors, asked))

    server.behaviour = broken
    found = model_of(server).embed(["bread", "poison"])
    assert found.faults == {1: "its vector is not finite"}
    with pytest.raises(InputError, match="cannot be embedded"):
        model_of(server).embed_question("poison")


# Faults of the service.


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(429, headers={"retry-after": "0.2"}), id="429"),
        pytest.param(Reply(500, b"<html>no</html>"), id="500"),
        pytest.param(Reply(503), id="503"),
        pytest.param(Reply(200, b'{"data": [', half=True), id="half an answer"),
        pytest.param(Reply(200, {"data": []}), id="too few"),
        pytest.param(Reply(200, b"nothing"), id="no JSON"),
        pytest.param(Reply(200, wait_s=1.5), id="too late"),
    ],
)
def test_what_may_pass_is_tried_again(server, reply):
    server.behaviour = of(reply, times=1)
    found = model_of(server, timeout="1s").embed(TEXTS)
    np.testing.assert_allclose(found.vectors, expected(server, TEXTS), atol=1e-6)
    assert len(server.asked) == 2


def test_a_service_is_not_asked_before_it_wants_to_be(server):
    server.behaviour = of(Reply(429, headers={"retry-after": "1"}), times=1)
    model_of(server).embed(["bread"])
    first, second = server.asked
    assert 1 <= second.at_s - first.at_s < 3


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        pytest.param(
            Reply(401, {"error": {"message": f"bad key {KEY}"}}), ServiceRefused, "TEST_SERVICE_KEY", id="401"
        ),
        pytest.param(Reply(403), ServiceRefused, "refuses the key", id="403"),
        pytest.param(Reply(404), ServiceRefused, "has no model small", id="404"),
        pytest.param(Reply(307, headers={"location": "http://example.org"}), ServiceRefused, "elsewhere", id="307"),
        pytest.param(Reply(402), ServiceRefused, "HTTP 402", id="402"),
        pytest.param(
            Reply(429, {"error": {"code": "insufficient_quota"}}), ServiceRefused, "insufficient_quota", id="no money"
        ),
        pytest.param(
            Reply(400, {"error": {"message": "dimensions may not be chosen"}}), ServiceRefused, "every text", id="400"
        ),
        pytest.param(Reply(429, headers={"retry-after": "3600"}), ServiceUnavailable, "3600 s", id="an hour"),
        pytest.param(Reply(500), ServiceUnavailable, "HTTP 500", id="500"),
        pytest.param(Reply(200, b"{}"), ServiceRefused, "does not speak", id="no vectors"),
        pytest.param(
            Reply(200, {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}]}),
            ServiceRefused,
            "does not speak",
            id="one index twice",
        ),
    ],
)
def test_what_does_not_pass_ends_the_run_in_one_line(server, reply, kind, said):
    server.behaviour = of(reply)
    with pytest.raises(kind) as caught:
        model_of(server, patience="1s").embed([f"{MARKER} bread"])
    line = str(caught.value)
    assert said in line
    assert KEY not in line
    assert MARKER not in line
    assert "\n" not in line
    assert caught.value.exit_code == 3
    assert caught.value.ends_run


def test_nobody_listens():
    settings = ModelSettings(name="small", service={"url": "http://127.0.0.1:9/v1", "patience": "1s"})
    with pytest.raises(ServiceUnavailable, match=r"127.0.0.1 gives no vectors within 1 s: no connection"):
        service_model(settings).embed(["bread"])


def test_a_key_that_is_not_there(server, monkeypatch):
    monkeypatch.delenv("TEST_SERVICE_KEY")
    with pytest.raises(ServiceRefused, match="TEST_SERVICE_KEY is not set"):
        model_of(server).embed(["bread"])
    monkeypatch.setenv("TEST_SERVICE_KEY", "a\nb")
    with pytest.raises(ServiceRefused, match="holds no key"):
        model_of(server).embed(["bread"])
    assert server.asked == []


def test_a_question_has_a_time_of_its_own(server):
    server.wait_s = 5
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=r"0\.5 s"):
        model_of(server, question_timeout="500ms").embed_question("why bread rises")
    assert time.monotonic() - began < 3


def test_a_question_waits_no_longer_for_a_service_that_answers_in_drops(server):
    """Neither for the end of an answer, nor for a second try that begins late."""
    model = model_of(server, question_timeout="600ms")
    server.behaviour = lambda asked: Reply(500, wait_s=0.5)
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=r"within 0\.6 s|no vectors"):
        model.embed_question("why bread rises")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    "answer",
    [
        b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}",
        b'{"data": [{"index": 0, "embedding": "!"}], "usage": {"total_tokens": 1' + b"0" * 400 + b"}}",
    ],
)
def test_numbers_beyond_all_bounds_are_no_answer(server, answer):
    server.behaviour = of(Reply(200, answer))
    with pytest.raises(ServiceRefused, match="does not speak"):
        model_of(server, patience="3s").dimension  # noqa: B018


@pytest.mark.parametrize("proxy", ["foo://user:pw@host:1", "http://user:pw@host:bad"])
def test_an_environment_that_cannot_be_is_one_line(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ServiceRefused, match="variables of the environment") as caught:
        service_model(ModelSettings(name="small", service={"url": "https://example.invalid/v1"})).embed(["bread"])
    assert "pw" not in str(caught.value)


def test_a_question_that_is_no_text(server):
    with pytest.raises(InputError, match="no text that can be sent"):
        model_of(server).embed_question("a \ud800 b")


def test_a_request_that_is_cancelled_is_not_sent(server):
    server.wait_s = 0.3
    texts = model_of(server, batch_texts=1, concurrency=1).tokenized(TEXTS)
    texts.cancel()
    time.sleep(0.7)
    assert len(server.asked) <= 1


# Which model it is.


def test_another_name_and_another_address_are_the_same_model_if_the_answers_are(server, store):
    first = known(server, store)
    assert len(first.fingerprint) == 32
    recorded = answers_of(store, first.fingerprint)
    assert [len(recorded[task]) for task in ("document", "query")] == [16, 16]
    with embedding_server(model="gateway/small") as gateway:
        assert known(gateway, store).fingerprint == first.fingerprint
    with embedding_server(seed=2) as other:
        assert known(other, store).fingerprint != first.fingerprint
    # Another prompt is another model, whatever the service answers.
    model = service_model(ModelSettings(document_prompt="D: ", **server.settings()))
    identify(store, model)
    assert model.fingerprint != first.fingerprint


def test_a_model_that_changes_between_two_requests_gives_no_vector(server, store):
    model = known(server, store, batch_texts=2, concurrency=1)
    turn = threading.Event()

    def changing(asked: Asked) -> None:
        if turn.is_set():
            server.seed = 2
        turn.set()

    server.behaviour = changing
    with pytest.raises(ModelChanged, match=r"another model than the recorded small: a fixed text has cosine -?0\.\d+"):
        model.embed(TEXTS)
    # Those that waited were not sent.
    assert len(server.asked) < 5


def test_a_rolling_deployment_is_noticed_by_whoever_opens_the_model(server, store):
    model = known(server, store)
    again = model_of(server)
    again.prove(model.fingerprint, answers_of(store, model.fingerprint))
    assert again.fingerprint == model.fingerprint
    server.seed = 2
    with pytest.raises(ModelChanged):
        model_of(server).prove(model.fingerprint, answers_of(store, model.fingerprint))
    with pytest.raises(ModelChanged):
        model.embed_question("why bread rises")


def test_a_service_that_reads_less_of_a_long_text_is_another_model(server, store):
    """Only the fixed texts that are longer than what it reads can show it."""
    model = known(server, store)

    def cutting(asked: Asked) -> Reply:
        words = [" ".join(text.split()[:500]) for text in asked.texts]
        return Reply(200, server.body([vector_of(each, server.seed, server.dimension) for each in words], asked))

    server.behaviour = cutting
    model.embed(TEXTS)
    with pytest.raises(ModelChanged):
        model.prove(model.fingerprint, answers_of(store, model.fingerprint), range(16))


def test_a_service_that_refuses_long_texts_does_so_the_next_time(server, store):
    server.behaviour = lambda asked: (
        Reply(400, {"error": {"code": "context_length_exceeded"}})
        if any(len(text.split()) > 5000 for text in asked.texts)
        else None
    )
    model = known(server, store)
    assert answers_of(store, model.fingerprint)["document"][15] is None
    model.prove(model.fingerprint, answers_of(store, model.fingerprint), range(16))
    server.behaviour = lambda asked: None
    with pytest.raises(ModelChanged, match="is answered that was refused"):
        model.prove(model.fingerprint, answers_of(store, model.fingerprint), range(16))


def test_a_service_with_other_dimensions_than_recorded(server, store):
    model = known(server, store)
    server.dimension = 12
    with pytest.raises(ModelChanged, match="12 dimensions, and small has 16"):
        model.embed(["bread"])


# Settings, and what is said.


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"url": "http://example.org/v1"}, "is not encrypted"),
        ({"url": f"https://user:{KEY}@example.org"}, "is no address"),
        ({"url": "https://example.org/?key=1"}, "is no address"),
        ({"url": "ftp://example.org"}, "is no address"),
        ({"url": "https://example.org", "key_env": KEY}, "key_env"),
        ({"url": "https://example.org", "max_cost": 3}, "needs price_per_million_tokens"),
        ({"url": "https://example.org", "deployment": "a"}, "one needs the other"),
        ({"url": "https://example.org", "document_fields": {"input": "x"}}, "is sent by embedshift itself"),
    ],
)
def test_settings_of_a_service_that_cannot_be(service, said):
    with pytest.raises(SettingsError) as caught:
        parse_settings(tree(service))
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


def tree(service: dict[str, Any], **model: Any) -> dict[str, Any]:
    return {
        "alias": "articles",
        "store": {"path": "a.sqlite"},
        "source": {"table": "articles", "model": {"name": "small"}},
        "target": {"table": "articles_v2", "model": {"name": "large", "service": service, **model}},
    }


def test_what_only_loaded_models_have_is_refused_with_what_to_set_instead():
    with pytest.raises(
        SettingsError, match=r"truncate_dim is for models that are loaded here: set service\.dimensions"
    ):
        parse_settings(tree({"url": "https://example.org"}, truncate_dim=8))


def test_limits_address_and_price_do_not_change_the_result():
    one = parse_settings(tree({"url": "https://example.org", "dimensions": 8}))
    other = parse_settings(
        tree({"url": "https://example.com/v1", "dimensions": 8, "max_cost": 1, "price_per_million_tokens": 1})
    )
    assert one.result_keys() == other.result_keys()
    assert one.result_keys() != parse_settings(tree({"url": "https://example.org", "dimensions": 9})).result_keys()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "HTTP 400"),
        (b"\xff\x00", "HTTP 400"),
        (b"[]", "HTTP 400"),
        (json.dumps({"detail": "too long"}).encode(), "HTTP 400: too long"),
        (json.dumps({"error": "no\x1b[31m\n good"}).encode(), "HTTP 400"),
        (json.dumps({"error": {"message": "the text is " + MARKER}}).encode(), "HTTP 400"),
        (json.dumps({"error": {"message": "text: Zqx has"}}).encode(), "HTTP 400"),
        (json.dumps({"error": {"message": "text 4711 is too long"}}).encode(), "HTTP 400"),
        (
            json.dumps({"error": {"message": "8193 tokens exceed the limit of 8192"}}).encode(),
            "HTTP 400: 8193 tokens exceed the limit of 8192",
        ),
        (
            json.dumps({"error": {"message": "bad key: sk-K***42", "type": "invalid_api_key"}}).encode(),
            "HTTP 400: invalid_api_key",
        ),
        (json.dumps({"error": {"message": "\u4eca"}}).encode(), "HTTP 400"),
        (json.dumps({"message": "too long " * 100}).encode(), "HTTP 400"),
    ],
)
def test_reasons_are_one_line_and_repeat_nothing(body, said):
    assert reason_of(400, body, [f"Zqx 4711 has a text with {MARKER} in it"]) == said


def test_every_error_of_a_service_survives_the_way_between_processes():
    import pickle

    for kind in (ServiceRefused, ServiceUnavailable, ModelChanged):
        again = pickle.loads(pickle.dumps(kind("what", hint="do")))
        assert isinstance(again, EmbedshiftError)
        assert (type(again), again.what, again.hint) == (kind, "what", "do")
