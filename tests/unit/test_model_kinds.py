"""Models of every kind: what the library makes of documents and questions, or one line that says why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedshift.embedding import choose_precision, load_model
from embedshift.errors import ModelUnavailable
from embedshift.settings import ModelSettings
from tests.model_kinds import KINDS, Kinds
from tests.small_models import articles

#: What a cosine with the library's own vector may not fall below.
LEAST = 0.9999
QUESTIONS = ("Why does bread rise?", "river", "HOW old is the Moon, 4500 million years?")
#: Kinds that cannot be embedded, and a word of the line that says so.
REFUSED = {
    "no padding": "padding token",
    "routes of two dimensions": "different dimensions",
    "sparse": "is a SparseEncoder",
    "own code": "third-party code",
}
#: Kinds that the quick path embeds; the library embeds the others.
QUICK = {
    "plain",
    "dense and normalised",
    "two poolings",
    "prompts",
    "prompt named passage",
    "default prompt",
    "truncated",
    "lower case",
    "no limit",
    "weights of 16 bits",
    "left to right",
    "left to right in 16 bits",
}
ALIKE = sorted(KINDS.keys() - REFUSED.keys())


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def documents() -> list[str]:
    """Texts of many lengths; the last is longer than the models read, and the first comes twice."""
    texts = [f"{each['title']}. {each['content']}" for each in articles()[:12]]
    return [*texts, "Bread", texts[0], texts[3] + " " + texts[4]]


def least_cosine(ours, theirs) -> float:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float((np.einsum("ij,ij->i", ours, theirs) / lengths).min())


def one_by_one(encode, texts) -> list[np.ndarray]:
    return [np.asarray(encode([text], show_progress_bar=False)[0], np.float32) for text in texts]


@pytest.mark.parametrize("kind", ALIKE)
def test_every_kind_is_embedded_as_its_library_does(model_kinds: Kinds, kind: str):
    folder = str(model_kinds(kind))
    library = SentenceTransformer(folder, device="cpu", local_files_only=True)
    texts = documents() if kind != "no limit" else documents()[:-1]
    expected = one_by_one(library.encode_document, texts)
    settings = ModelSettings(name=folder, device="cpu")
    model = load_model(settings)
    assert (model.path == "quick") == (kind in QUICK), model.path
    found = model.embed(texts)
    assert found.faults == {}
    assert least_cosine(found.vectors, expected) >= LEAST
    assert least_cosine([model.embed([text]).vectors[0] for text in texts], expected) >= LEAST
    asked = [model.embed_question(text) for text in QUESTIONS]
    assert least_cosine(asked, one_by_one(library.encode_query, QUESTIONS)) >= LEAST
    # Below a million weights no other precision is tried, so that these agree.
    assert choose_precision(settings, texts) == "float32"


def test_a_text_among_long_ones_has_the_vector_that_it_has_alone(model_kinds: Kinds):
    """The three texts of the check are too short to show it, and the library's own batches have it too."""
    model = load_model(ModelSettings(name=str(model_kinds("positions that stretch")), device="cpu"))
    texts = ["river stone bread water " * times for times in (1, 2, 4, 8, 12)]
    alone = [model.embed([text]).vectors[0] for text in texts]
    assert least_cosine(model.embed(texts).vectors, alone) >= LEAST


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_kind_that_cannot_be_embedded_is_refused_on_one_line(model_kinds: Kinds, kind: str):
    with pytest.raises(ModelUnavailable, match=REFUSED[kind]) as caught:
        load_model(ModelSettings(name=str(model_kinds(kind)), device="cpu"))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_code_of_a_model_runs_only_with_a_revision(model_kinds: Kinds):
    folder = str(model_kinds("own code"))
    with pytest.raises(ValueError, match="revision must name the commit"):
        ModelSettings(name=folder, trust_remote_code=True)
    trusted = ModelSettings(name=folder, trust_remote_code=True, revision="4e1b", device="cpu")
    plain = load_model(ModelSettings(name=str(model_kinds("plain")), device="cpu"))
    reversed_ = load_model(trusted).embed(["bread"]).vectors
    np.testing.assert_allclose(reversed_[:, ::-1], plain.embed(["bread"]).vectors, atol=1e-6)


def with_code(model_kinds: Kinds, folder: Path, *changes: tuple[str, str]) -> ModelSettings:
    """The model with code of its own, that code changed."""
    shutil.copytree(model_kinds("own code"), folder)
    code = (folder / "reversal.py").read_text()
    for old, new in changes:
        assert old in code
        code = code.replace(old, new)
    (folder / "reversal.py").write_text(code)
    return ModelSettings(name=str(folder), trust_remote_code=True, revision="4e1b", device="cpu")


@pytest.mark.parametrize(
    ("vector", "what"),
    [
        ("torch.randn_like(features['sentence_embedding'])", "another vector each time"),
        ("exit(7)", "cannot embed with the model"),
        ("{}['none']", "cannot embed with the model"),
    ],
)
def test_code_that_cannot_be_relied_on_is_refused(model_kinds: Kinds, tmp_path: Path, vector: str, what: str):
    ours = ('features["sentence_embedding"].flip(1)', vector)
    with pytest.raises(ModelUnavailable, match=what):
        load_model(with_code(model_kinds, tmp_path / "chance", ours, ("\nclass", "import torch\n\nclass")))


def test_a_length_that_it_cannot_read_is_refused(model_kinds: Kinds):
    settings = ModelSettings(name=str(model_kinds("plain")), device="cpu", max_length=2000)
    with pytest.raises(ModelUnavailable, match=r"cannot read max_length 2000 tokens of a text.*set it to \d+ or less"):
        load_model(settings)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_backend_that_is_not_installed_is_named(model_kinds: Kinds, backend: str):
    if backend_is_there(backend):
        pytest.skip(f"{backend} is installed here")
    with pytest.raises(ModelUnavailable, match=f"for the backend {backend}"):
        load_model(ModelSettings(name=str(model_kinds("plain")), backend=backend))


def backend_is_there(backend: str) -> bool:
    from importlib.util import find_spec

    return find_spec("optimum") is not None and find_spec(backend) is not None


def test_where_batches_change_a_vector_it_is_said_once(model_kinds: Kinds, caplog: pytest.LogCaptureFixture):
    load_model.cache_clear()
    for _ in range(2):
        load_model(ModelSettings(name=str(model_kinds("positions from the left")), device="cpu"))
    (said,) = [each.message for each in caplog.records if each.name.startswith("embedshift")]
    assert "one text at a time" in said


# Settings.


def test_prompts_of_the_settings_replace_the_models_own(model_kinds: Kinds):
    folder = str(model_kinds("prompts"))
    own = load_model(ModelSettings(name=folder, device="cpu"))
    assert (own.prompts.query, own.prompts.document) == ("find the article: ", "an article: ")
    none = load_model(ModelSettings(name=folder, device="cpu", query_prompt="", document_prompt=""))
    plain = load_model(ModelSettings(name=str(model_kinds("plain")), device="cpu"))
    np.testing.assert_allclose(none.embed(["bread"]).vectors, plain.embed(["bread"]).vectors, atol=1e-6)
    assert none.fingerprint == plain.fingerprint != own.fingerprint
    assert none.prompts.own_document == "an article: "


@pytest.mark.parametrize("kind", ["plain", "routes at the start", "table with prompts"])
def test_dimensions_that_are_left_have_length_one_again(model_kinds: Kinds, kind: str):
    settings = ModelSettings(name=str(model_kinds(kind)), device="cpu")
    whole, short = load_model(settings), load_model(settings.model_copy(update={"truncate_dim": 8}))
    cut = whole.embed(["a river"]).vectors[:, :8]
    np.testing.assert_allclose(short.embed(["a river"]).vectors, cut / np.linalg.norm(cut), atol=1e-6)
    assert short.embed_question("a river").shape == (8,)
    assert short.fingerprint != whole.fingerprint
    with pytest.raises(ModelUnavailable, match="truncate_dim is 33"):
        load_model(settings.model_copy(update={"truncate_dim": 33}))


@pytest.mark.parametrize("kind", ["prompts", "chat template", "lengths of its own"])
def test_a_long_document_is_the_mean_of_its_windows_by_their_tokens(model_kinds: Kinds, kind: str):
    settings = ModelSettings(name=str(model_kinds(kind)), device="cpu", long_texts="mean")
    model, cutting = load_model(settings), load_model(settings.model_copy(update={"long_texts": "cut"}))
    assert model.fingerprint != cutting.fingerprint
    texts = documents()[:4]
    windows = model.tokenized(texts).parts
    assert windows is not None
    assert "".join(windows.texts) == "".join(texts)
    prompted = [model.prompts.document + text for text in windows.texts]
    assert (model.count_tokens(prompted) <= model.max_length).all()
    each = cutting.embed(windows.texts).vectors * windows.tokens[:, None]
    ends = [*windows.starts[1:].tolist(), len(windows.texts)]
    means = np.array([each[a:b].sum(0) for a, b in zip(windows.starts, ends, strict=True)])
    counted: list[int] = []
    found = model.embed_texts(model.tokenized(texts), 200, counted.append).vectors
    assert sum(counted) == len(texts)
    np.testing.assert_allclose(found, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(model.embed(["bread"]).vectors, cutting.embed(["bread"]).vectors, atol=1e-6)


def test_windows_need_a_tokenizer_that_knows_where_it_cuts(model_kinds: Kinds):
    settings = ModelSettings(name=str(model_kinds("words weighed")), device="cpu", long_texts="mean")
    with pytest.raises(ModelUnavailable, match="long_texts: cut"):
        load_model(settings)


def test_a_length_of_the_settings_holds_whatever_the_model_says_of_its_own(model_kinds: Kinds):
    settings = ModelSettings(name=str(model_kinds("lengths of its own")), device="cpu")
    assert load_model(settings).max_length == 16
    assert load_model(settings.model_copy(update={"max_length": 12})).max_length == 12
    assert load_model(settings.model_copy(update={"max_length": 64})).max_length == 16
    table = ModelSettings(name=str(model_kinds("table truncated")), max_length=12)
    with pytest.raises(ModelUnavailable, match="any length"):
        load_model(table)


# Fingerprints.


def test_a_function_beside_the_class_is_in_the_fingerprint(model_kinds: Kinds, tmp_path: Path):
    call = ('["sentence_embedding"].flip(1)', '["sentence_embedding"] * sign()')
    found = [
        load_model(
            with_code(model_kinds, tmp_path / name, call, ("\nclass", f"\ndef sign():\n    return {name}\n\nclass"))
        ).fingerprint
        for name in ("1", "-1")
    ]
    assert found[0] != found[1]


@pytest.mark.parametrize("kind", ["plain", "routes at the end"])
def test_the_end_at_which_a_text_is_cut_is_in_the_fingerprint(model_kinds: Kinds, tmp_path: Path, kind: str):
    folder = tmp_path / "left"
    shutil.copytree(model_kinds(kind), folder)
    (file,) = folder.rglob("tokenizer_config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncation_side": "left"}))
    right, left = (load_model(ModelSettings(name=str(each), device="cpu")) for each in (model_kinds(kind), folder))
    assert right.fingerprint != left.fingerprint


def test_no_two_kinds_have_one_fingerprint(model_kinds: Kinds):
    # These embed documents as another does: what differs is nothing, or the prompt of questions.
    kinds = set(ALIKE) - {"lower case", "no limit", "prompt named passage"}
    found = {kind: load_model(ModelSettings(name=str(model_kinds(kind)), device="cpu")).fingerprint for kind in kinds}
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("kind", ["plain", "prompts", "dense and normalised", "left to right", "table with prompts"])
def test_a_plain_model_keeps_the_fingerprint_that_it_always_had(model_kinds: Kinds, kind: str):
    model = load_model(ModelSettings(name=str(model_kinds(kind)), device="cpu"))
    assert model.fingerprint == model.former_fingerprint


@pytest.mark.parametrize(
    ("kind", "alike"),
    [
        ("truncated", True),
        ("table truncated", True),
        ("routes at the end", True),
        ("lengths of its own", False),
        ("chat template", False),
        ("dropout", False),
        ("table with a default", False),
    ],
)
def test_a_former_fingerprint_counts_where_the_vectors_are_the_same(model_kinds: Kinds, kind: str, alike: bool):
    model = load_model(ModelSettings(name=str(model_kinds(kind)), device="cpu"))
    assert model.fingerprint != model.former_fingerprint
    assert model.embeds_as_before == alike
