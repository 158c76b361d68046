"""Texts as numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.transforms.making import made, refused

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def test_characters_are_places_in_the_alphabet():
    encode = made("characters", {"alphabet": LETTERS, "length": 6, "lower": True})
    assert encode("Abz").dtype == np.int64 and encode("Abz").tolist() == [1, 2, 26, 0, 0, 0]
    assert encode("a-c").tolist() == [1, 0, 3, 0, 0, 0] and encode("abcdefgh").tolist() == [1, 2, 3, 4, 5, 6]
    other = made("characters", {"alphabet": "ab", "length": 3, "pad": 9, "unknown": 8, "first": 0})
    assert other("bA").tolist() == [1, 8, 9]
    assert "twice" in refused("characters", {"alphabet": "aa", "length": 3})
    assert "'length' is missing" in refused("characters", {"alphabet": "a"})
    assert "table" in refused("characters", "abc") and "at most" in refused(
        "characters", {"alphabet": "a", "length": 10**9}
    )


def test_words_are_places_in_the_vocabulary_or_in_a_file_of_it(tmp_path):
    encode = made("words", {"vocabulary": ["go", "left", "Right"], "length": 4})
    assert encode("GO right  now").tolist() == [2, 4, 1, 0] and encode("").tolist() == [0, 0, 0, 0]
    (tmp_path / "words.txt").write_text("go\nleft\nRight\n", encoding="utf-8")
    exact = made("words", {"file": "words.txt", "length": 4, "lower": False, "first": 0, "unknown": 7}, tmp_path)
    assert exact("go right Right").tolist() == [0, 7, 2, 0]
    assert "no file" in refused("words", {"file": "none.txt", "length": 4}, tmp_path)
    assert "vocabulary or file" in refused("words", {"length": 4})
    for path in ("../words.txt", str(tmp_path / "words.txt")):
        assert "below the recipe's folder" in refused("words", {"file": path, "length": 4}, tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused("words", {"file": "latin.txt", "length": 4}, tmp_path)


@pytest.fixture
def tokenizer(tmp_path):
    vocabulary = {"[UNK]": 0, "go": 5, "left": 6, "now": 7}
    made_one = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made_one.pre_tokenizer = pre_tokenizers.Whitespace()
    made_one.enable_padding(length=16, pad_id=3)  # the recipe's length counts, not the file's
    made_one.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_tokenizer_is_cut_off_and_filled_up_as_the_recipe_says(tokenizer):
    table = {"file": "tokenizer.json", "length": 4}
    encode = made("tokenizer", table, tokenizer)
    assert encode("go left").tolist() == [5, 6, 0, 0] and encode("go go go left now").tolist() == [5, 5, 5, 6]
    assert made("tokenizer", {**table, "pad": 3}, tokenizer)("say now").tolist() == [0, 7, 3, 3]
    assert made("tokenizer", {**table, "give": "mask"}, tokenizer)("go left").tolist() == [1, 1, 0, 0]


def test_a_file_that_is_no_tokenizer_is_refused(tokenizer):
    (tokenizer / "broken.json").write_text("{}")
    assert "is no tokenizer" in refused("tokenizer", {"file": "broken.json", "length": 4}, tokenizer)
