"""What a model answers, as probabilities: letters, JSON in all shapes, words, other languages."""

import math

import pytest

from semi.outside.answers import ModelReply, vote_of
from semi.outside.endpoint import reply_of
from semi.outside.label_words import LabelWords

CLASSES = ["anger", "joy", "very sad", "sad"]
WORDS = LabelWords(CLASSES, CLASSES)


def of(method, *replies, words=WORDS, classes=4):
    replies = [r if isinstance(r, ModelReply) else ModelReply(r) for r in replies]
    return vote_of(method, replies, words, classes)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("joy", 1), ("JOY", 1), (" Joy. ", 1), ("**joy**", 1), ('"joy"', 1), ("“Joy”!", 1),
        ("The emotion is anger.", 0), ("very sad", 2), ("I would say: Very Sad", 2), ("sad", 3),
        ("Freude", 1), ("ärger", 0), ("기쁨", 1), ("злость", 0), ("happiness", 1), ("Angry.", 0),
        ("<think>anger? no, joy</think>\nsad", 3), ("ｊｏｙ", 1), ("joy joy joy", 1),
    ],
)  # fmt: skip
def test_a_label_is_found_in_whatever_way_it_is_written(text, label):
    found = of("samples", text)
    assert found.probs is not None and found.probs[label] == 1


@pytest.mark.parametrize(
    "text",
    ["", "   ", "joy or anger", "not joy", "it isn't anger", "nicht ärger", "enjoyment", "fear",
     "I cannot judge that.", "<think>joy, because", "42", "sadly"],
)  # fmt: skip
def test_what_names_no_label_or_several_is_an_abstention_with_its_reason(text):
    found = of("samples", text)
    assert found.probs is None and found.note


@pytest.mark.parametrize(
    ("text", "probs"),
    [
        ('{"anger": 0.1, "joy": 0.7, "very sad": 0.1, "sad": 0.1}', [0.1, 0.7, 0.1, 0.1]),
        ('```json\n{"Anger": 10, "JOY": 70, "Very sad": 10, "Sad": 10}\n```', [0.1, 0.7, 0.1, 0.1]),
        ('Here: {"joy": "70%", "anger": "30 %"} as asked', [0.3, 0.7, 0, 0]),
        ('{"probabilities": {"joy": 1.5, "anger": 0.5}}', [0.25, 0.75, 0, 0]),
        ("{'joy': 3, 'anger': 1,}", [0.25, 0.75, 0, 0]),
        ('{"label": "Joy", "confidence": 0.7}', [0.1, 0.7, 0.1, 0.1]),
        ('{"emotion": "Freude"}', [0, 1, 0, 0]),
        ('[{"label": "joy", "score": 0.9}, {"label": "sad", "score": 0.1}]', [0, 0.9, 0, 0.1]),
        ('{"joy": 0.5, "fear": 0.5}', [0, 1, 0, 0]),
        ('{"Freude": 0.5, "joy": 0.5}', [0, 1, 0, 0]),
        ("joy", [0, 1, 0, 0]),
        ('<think>{"anger": 1}</think>{"joy": 1}', [0, 1, 0, 0]),
    ],
)
def test_json_is_read_in_every_shape_and_sums_to_one(text, probs):
    assert of("json", text).probs == pytest.approx(probs)


@pytest.mark.parametrize(
    "text",
    ['{"joy": -1, "sad": 2}', '{"joy": NaN}', '{"joy": 0, "sad": 0}', '{"joy": Infinity}', "{}",
     '{"fear": 1}', '{"label": "joy or anger"}', '{"joy": true}', '{"joy": null}', "[1, 2]", "[]",
     "{" * 5000, '{"joy": 1e999}', '{"label": 3}'],
)  # fmt: skip
def test_json_without_probabilities_is_an_abstention(text):
    found = of("json", text)
    assert found.probs is None and found.note


def top(**tokens):
    return ModelReply("", [(token, math.log(p)) for token, p in tokens.items()])


def test_the_first_token_gives_the_letters_their_probabilities():
    found = of("logprobs", top(B=0.6, A=0.2, D=0.1, C=0.1))
    assert found.probs == pytest.approx([0.2, 0.6, 0.1, 0.1]) and found.named == pytest.approx(1)
    spaced = ModelReply("", [(" b", math.log(0.5)), ("(A", math.log(0.2)), ("**D", math.log(0.2)),
                        ("▁C", math.log(0.1))])  # fmt: skip
    assert of("logprobs", spaced).probs == pytest.approx([0.2, 0.5, 0.1, 0.2])
    begun = top(ang=0.6, joy=0.3, The=0.1)  # labels in place of letters
    assert of("logprobs", begun).probs[:2] == pytest.approx([0.6 / 0.95, 0.3 / 0.95], abs=0.06)


def test_a_label_beyond_the_tokens_given_is_less_likely_than_the_least_of_them():
    found = of("logprobs", top(B=0.5, A=0.4, x=0.01))
    assert found.probs[2] == found.probs[3] and 0 < found.probs[2] < 0.011
    assert sum(found.probs) == pytest.approx(1)


@pytest.mark.parametrize(
    "reply",
    [ModelReply("A"), top(The=0.9, I=0.1), top(Z=1.0), *[ModelReply("", [("A", lp)]) for lp in
     (math.nan, -math.inf)]],
)  # fmt: skip
def test_a_first_token_that_names_no_label_is_an_abstention(reply):
    found = of("logprobs", reply)
    assert found.probs is None and found.note


def test_tokens_are_read_as_new_and_old_servers_give_them():
    new = (
        b'{"choices": [{"message": {"content": "\\nA"}, "logprobs": {"content": ['
        b'{"token": "\\n", "logprob": 0, "top_logprobs": [{"token": "\\n", "logprob": 0}]},'
        b'{"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}]}]}}]}'
    )
    assert reply_of(new).top == [("A", -0.1)]
    old = b'{"choices": [{"text": "A", "logprobs": {"top_logprobs": [{"A": -0.1, "B": -2}]}}]}'
    assert reply_of(old) == ModelReply("A", [("A", -0.1), ("B", -2.0)])
    parts = b'{"choices": [{"message": {"content": [{"type": "text", "text": "joy"}]}}]}'
    assert reply_of(parts).text == "joy"
    thinking = b'{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}'
    assert reply_of(thinking) == ModelReply("", [], True)
    note = of("json", reply_of(thinking)).note
    assert note == "an empty answer, cut off while it was thinking"


def test_two_labels_of_one_emotion_are_not_told_apart_by_a_third_word():
    words = LabelWords(["happy", "joy"], ["happy", "joy"])
    assert of("samples", "Freude", words=words, classes=2).probs is None
    assert of("samples", "joy", words=words, classes=2).probs == [0, 1]


def test_labels_go_by_the_names_that_the_model_is_shown():
    words = LabelWords(["0", "1"], ["negative", "positive"])
    assert of("json", '{"positive": 0.8, "negative": 0.2}', words=words, classes=2).probs == [
        pytest.approx(0.2), pytest.approx(0.8),
    ]  # fmt: skip
    assert of("samples", "Positive", words=words, classes=2).probs == [0, 1]
