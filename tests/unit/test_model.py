"""Models: vectors as the library makes them, faults that stay with their text, fingerprints that tell models apart."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from embedshift.embedding import LocalModel, Model, choose_precision, load_model
from embedshift.embedding.packaged import load_packaged
from embedshift.errors import InputError, ModelUnavailable
from embedshift.settings import ModelSettings
from tests.small_models import save_model

MINILM = "package:all-MiniLM-L6-v2"
WORDLLAMA = "package:wordllama-l2-256"
TEXTS = ("bread and dough", "", "a river, a stone", " \n", "🍞 خبز", "bread " * 600, "bread and dough", "\x00\x1f")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = save_model(tmp_path_factory.mktemp("model") / "small", 16, seed=5)
    return load_model(ModelSettings(name=str(folder)))


@pytest.fixture(scope="module", params=[WORDLLAMA, MINILM])
def packaged(request: pytest.FixtureRequest) -> tuple[Model, SentenceTransformer]:
    return load_model(ModelSettings(name=request.param)), load_packaged(request.param, "cpu")


def test_vectors_are_those_of_the_library(packaged):
    model, network = packaged
    texts = ["why bread rises", "the moon pulls the sea", "a much longer text about bread " * 20, "why bread rises"]
    expected = network.encode(texts, normalize_embeddings=True)
    found = model.embed(texts)
    assert found.faults == {}
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)
    np.testing.assert_allclose(model.embed_question(texts[0]), expected[0], atol=1e-5)


def test_vectors_do_not_depend_on_their_neighbours(packaged):
    model, _ = packaged
    texts = [text for text in TEXTS if text.strip()]
    together = model.embed(texts, batch_tokens=64).vectors
    alone = np.concatenate([model.embed([text]).vectors for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_dimensions_are_known(packaged):
    model, _ = packaged
    assert model.dimension == {WORDLLAMA: 256, MINILM: 384}[model.settings.name]
    assert (model.layer_weights > 0) == (model.settings.name == MINILM)


def test_tokens_are_counted_before_any_cut(packaged):
    model, _ = packaged
    short, long = model.count_tokens(["bread", "bread " * 600])
    assert 1 <= short <= 3
    assert long >= 600


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["bread", "poison", "dough poison", "river stone", "..."]), min_size=1, max_size=30))
def test_a_text_that_cannot_be_embedded_affects_no_other(small, texts):
    """Invariant 9."""
    found = small.embed(texts)
    poisoned = {row for row, text in enumerate(texts) if "poison" in text}
    assert found.faults == dict.fromkeys(poisoned, "its vector is not finite")
    assert np.isfinite(found.vectors).all()
    lengths = np.linalg.norm(found.vectors, axis=1)
    assert all((length == 0) == (row in poisoned) for row, length in enumerate(lengths))


def test_no_texts_have_no_vectors(small):
    assert small.embed([]).vectors.shape == (0, 16)


def test_a_text_without_words_has_no_direction(small):
    assert small.embed([""]).faults == {0: "its vector is zero"}


def test_lengths_are_kept_where_nobody_asks_for_unit_vectors(small):
    raw = load_model(small.settings.model_copy(update={"normalize": False}))
    texts = ["bread dough", "river"]
    vectors = raw.embed(texts).vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (np.abs(lengths - 1) > 0.1).all()
    np.testing.assert_allclose(vectors / lengths, small.embed(texts).vectors, atol=1e-6)


def test_prompts_stand_before_documents_and_questions(small):
    prompted = load_model(small.settings.model_copy(update={"document_prompt": "river ", "query_prompt": "stone "}))
    np.testing.assert_array_equal(prompted.embed(["bread"]).vectors, small.embed(["river bread"]).vectors)
    np.testing.assert_array_equal(prompted.embed_question("bread"), small.embed_question("stone bread"))


@pytest.mark.parametrize("question", ["", "  \n", "poison"])
def test_a_question_that_cannot_be_embedded_is_refused(small, question):
    with pytest.raises(InputError, match="question"):
        small.embed_question(question)


# Fingerprints: invariant 10.


def test_a_model_loaded_again_has_the_same_fingerprint(small):
    load_model.cache_clear()
    again = load_model(small.settings)
    assert again is not small
    assert again.fingerprint == small.fingerprint


def test_use_does_not_change_a_fingerprint(packaged):
    model, _ = packaged
    model.embed(list(TEXTS))
    again = LocalModel(model.settings, "float32", load_packaged(model.settings.name, "cpu"), "cpu")
    assert again.fingerprint == model.fingerprint


@pytest.mark.parametrize(
    "changes", [{"document_prompt": "x"}, {"normalize": False}], ids=lambda changes: next(iter(changes))
)
def test_what_shapes_a_document_changes_the_fingerprint(small, changes):
    assert load_model(small.settings.model_copy(update=changes)).fingerprint != small.fingerprint


def test_a_question_prompt_changes_no_stored_vector_and_no_fingerprint(small):
    other = load_model(small.settings.model_copy(update={"query_prompt": "question: "}))
    assert other.fingerprint == small.fingerprint


def test_one_weight_changes_the_fingerprint(small, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "changed"
    shutil.copytree(small.settings.name, folder)
    (file,) = folder.rglob("*.safetensors")
    weights = load_file(file)
    next(iter(weights.values()))[3, 3] += 1e-3
    save_file(weights, file, metadata={"format": "pt"})
    assert load_model(ModelSettings(name=str(folder))).fingerprint != small.fingerprint


def test_the_tokeniser_is_part_of_the_fingerprint(small, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(small.settings.name, folder)
    tokenizer = next(folder.rglob("tokenizer.json"))
    tokenizer.write_text(tokenizer.read_text().replace('"bread":', '"breadd":'))
    assert load_model(ModelSettings(name=str(folder))).fingerprint != small.fingerprint


def test_precision_and_length_are_part_of_the_fingerprint():
    plain = load_model(ModelSettings(name=MINILM))
    assert load_model(ModelSettings(name=MINILM, max_length=64)).fingerprint != plain.fingerprint
    assert load_model(ModelSettings(name=MINILM), "bfloat16").fingerprint != plain.fingerprint


# Models that cannot be had.


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("package:nobody", "no known package contains"),
        ("/no/such/folder", "does not exist"),
        ("./nowhere", "does not exist"),
        ("nobody-has-this/model-of-that-name", "cannot load the model"),
    ],
)
def test_a_model_that_cannot_be_had_is_named_on_one_line(name, word):
    with pytest.raises(ModelUnavailable, match=word) as caught:
        load_model(ModelSettings(name=name))
    assert name.removeprefix("package:") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelUnavailable, match="cannot load the model"):
        load_model(ModelSettings(name=str(tmp_path)))


# Precision.


def test_a_model_without_layers_stays_in_float32(small):
    assert choose_precision(small.settings, ["bread"] * 10) == "float32"


def test_without_a_sample_nothing_but_float32_is_proved():
    assert choose_precision(ModelSettings(name=MINILM), []) == "float32"


def test_a_faster_precision_agrees_with_float32():
    exact, fast = (load_model(ModelSettings(name=MINILM), precision) for precision in ("float32", "bfloat16"))
    texts = ["why bread rises", "the moon pulls the sea"]
    cosines = np.einsum("ij,ij->i", exact.embed(texts).vectors, fast.embed(texts).vectors)
    assert (cosines > 0.999).all()
    assert np.linalg.norm(fast.embed(texts).vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_texts_can_be_tokenised_while_others_are_embedded_one_by_one():
    """A batch that fails is tokenised again, in halves, while another thread tokenises the next one."""
    model = load_model(ModelSettings(name="package:all-MiniLM-L6-v2", device="cpu"))
    texts = [f"{number} bread and a stone" for number in range(64)]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.tokenized(texts), range(40)):
            assert found.tokens is not None
            assert model.embed_texts(found).faults == {}
    ready = model.tokenized(["bread", "stone", "bread"])
    assert list(ready.unique) == ["bread", "stone"]
    np.testing.assert_array_equal(model.embed_texts(ready).vectors, model.embed(["bread", "stone", "bread"]).vectors)
    counted: list[int] = []
    model.embed_texts(model.tokenized(texts), 64, counted.append)
    assert sum(counted) == 64
