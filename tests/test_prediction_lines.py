"""What `semi predict` prints of one utterance."""

from semi.runs.prediction_table import lines


def test_valence_and_arousal_of_a_joint_model_stand_beside_the_label_not_among_votes():
    answers = {
        "id": ["a"], "label": ["neutral"], "confidence": [0.5], "speech_label": ["anger"],
        "speech_confidence": [0.4], "valence": [-0.25], "arousal": [0.5], "note": [""],
    }  # fmt: skip
    assert lines(answers) == ["a  neutral 0.50, valence -0.25, arousal 0.50  (speech: anger 0.40)"]
