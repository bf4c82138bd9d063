"""Folders in the exact formats of KEMDy20, KEMDy19, AI Hub and MERTools, out of real open speech.

usage: python benchmarks/corpus_trees.py OUT

Borrowed: the recordings, speakers, sentences and the emotion each was spoken in, from the bundled
Emo-DB (CC0), without boredom, which none of these corpora has. Invented, from a fixed seed:
the raters (each names the emotion meant with probability 0.75, else neutral or any other), valence
and arousal (a point for each emotion, plus each rater's noise), what a listener felt, who talks to
whom (a session is a woman and a man), and the biosignals: noise that knows nothing of the
emotion, so that no recipe can honestly gain from them. The text knows nothing either: every actor
reads the same ten sentences in every emotion.
"""

from __future__ import annotations

import argparse
import csv
import wave
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.encoders import SpeechConfig, TextConfig, build_speech_encoder, build_text_encoder
from semi.data.audio import load_audio
from semi.data.corpora import bundled_emodb

WORDS = {"anger": "angry", "disgust": "disgust", "fear": "fear", "happiness": "happy",
         "neutral": "neutral", "sadness": "sad"}  # fmt: skip
SEVEN = [*sorted(WORDS.values()), "surprise"]
AFFECT = {"angry": (1.8, 4.3), "disgust": (1.9, 3.2), "fear": (2.0, 3.9), "happy": (4.3, 3.8),
          "neutral": (3.0, 2.6), "sad": (1.9, 1.9), "surprise": (3.3, 3.9)}  # fmt: skip
WOMEN, MEN = ["08", "09", "13", "14", "16"], ["03", "10", "11", "12", "15"]
PLAIN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})
SURE = 0.75  # probability that a rater names the emotion meant


@dataclass
class Spoken:
    """One recording of Emo-DB."""

    id: str
    speaker: str
    sex: str  # f | m
    label: str  # in the words of KEMDy
    text: str
    audio: Path


def spoken(speakers: list[str] | None = None) -> list[Spoken]:
    """Returns the recordings of some speakers, or of all, in the order of the manifest."""
    path = bundled_emodb()
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Spoken(r["id"], r["speaker"], r["sex"], WORDS[r["label"]], r["text"].translate(PLAIN),
               path.parent / r["audio"])
        for r in rows
        if r["label"] in WORDS and (speakers is None or r["speaker"] in speakers)
    ]  # fmt: skip


def write_wav(source: Path, target: Path, channels: int = 1) -> None:
    """Writes the recording as 16 kHz 16-bit PCM."""
    target.parent.mkdir(parents=True, exist_ok=True)
    samples = np.clip(load_audio(source, max_seconds=120, min_seconds=0) * 32767, -32768, 32767)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.repeat(samples.astype("<i2"), channels).tobytes())


def put(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Writes a text file with the line ends of Windows, as the corpora have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))


def rate(label: str, rng: np.random.Generator, raters: int = 10) -> list[tuple[str, int, int]]:
    """Returns (emotion, valence, arousal) of each rater."""
    out = []
    for _ in range(raters):
        draw = rng.random()
        word = label if draw < SURE else "neutral" if draw < 0.9 else str(rng.choice(SEVEN))
        point = np.array(AFFECT[label]) + rng.normal(0, 0.8, 2)
        valence, arousal = np.clip(point.round(), 1, 5).astype(int)
        out.append((word, int(valence), int(arousal)))
    return out


def total(votes: list[tuple[str, int, int]], rng: np.random.Generator) -> tuple[str, str, str]:
    """Returns the cells of the total: the winners in any order, mean valence and arousal."""
    counts = Counter(word for word, _, _ in votes)
    best = [word for word, n in counts.items() if n == max(counts.values())]
    rng.shuffle(best)
    valence, arousal = (np.mean(column) for column in ([v for _, v, _ in votes],
                                                       [a for _, _, a in votes]))  # fmt: skip
    return ";".join(best), f"{valence:.1f}", f"{arousal:.1f}"


def header(first: str, second: str, count: int = 10) -> str:
    """Returns the two header rows of a rating sheet."""
    raters = "".join(f",Eval{i + 1:02d}{'FM'[i % 2]},," for i in range(count))
    each = ",Emotion,Valence,Arousal" * (count + 1)
    return f"{first},Segment ID,Total Evaluation,,{raters}\n{second},{each}\n"


def sessions(rows: list[Spoken]) -> list[list[Spoken]]:
    """Returns the recordings of each woman and man who are a session together."""
    here = {r.speaker for r in rows}
    pairs = zip([s for s in WOMEN if s in here], [s for s in MEN if s in here], strict=True)
    return [[r for r in rows if r.speaker in pair] for pair in pairs]


def kemdy20(out: Path, speakers: list[str] | None = None, seed: int = 0) -> Path:
    """Writes annotation, wav, EDA, TEMP and IBI as in KEMDy20; session 17 has wrong prefixes."""
    rng = np.random.default_rng(seed)
    numbers = [1, 4, 10, 15, 17]
    for number, talk in zip(numbers, sessions(spoken(speakers)), strict=False):
        session, lines = f"Sess{number:02d}", []
        talk = [talk[i] for i in rng.permutation(len(talk))]
        recordings: dict[str, list[str]] = {}
        for place, row in enumerate(talk):
            user = f"User{2 * number - (row.sex == 'f'):03d}{row.sex.upper()}"
            scene = f"{session}_script{1 + 6 * place // len(talk):02d}_{user}"
            recordings.setdefault(scene, []).append(f"{scene}_{place + 1:03d}")
            name = recordings[scene][-1]
            votes = rate(row.label, rng)
            label, valence, arousal = total(votes, rng)
            cells = ",".join(f"{w},{v},{a}" for w, v, a in votes)
            wrong = number == 17 and place % 20 == 3
            written = f"Sess{number - 1:02d}{name[6:]}" if wrong else name
            label = label.replace("disgust", "disqust")
            times = f"{place + 1},{3 * place:.2f},{3 * place + 2:.2f}"
            lines.append(f"{times},{written},{label},{valence},{arousal},{cells}")
            folder = out / "wav" / f"Session{number:02d}"
            write_wav(row.audio, folder / f"{name}.wav")
            tag = "n/ " if place % 7 == 0 else ""
            put(folder / f"{name}.txt", f"{tag}{row.text}\n", "cp949")
        head = header("Numb,Wav,", ",start,end")
        put(out / "annotation" / f"{session}_eval.csv", head + "\n".join(lines) + "\n", "utf-8-sig")
        for scene, names in recordings.items():
            _signals20(out, f"Session{number:02d}", scene, names, rng)
    return out


def _signals20(out: Path, folder: str, scene: str, names: list[str], rng) -> None:
    clock = "2020-0911-10-00-{:02d}-{:03d}"
    spans = {name: range(12 * i + 2, 12 * i + 10) for i, name in enumerate(names)}
    who = {t: name for name, span in spans.items() for t in span}
    for kind, level, step in (("EDA", 0.5, 0.01), ("TEMP", 33.0, 0.02)):
        lines = ["1599786000.00," + clock.format(0, 0), "4.000000,hz"]
        value = level + np.cumsum(rng.normal(0, step, 12 * len(names) + 8)) * (kind == "TEMP")
        value = np.abs(value + rng.normal(0, step, len(value)))
        for t, v in enumerate(value):
            mark = f",{who[t]}" if t in who else ""
            lines.append(f"{v:.6f},{clock.format(t // 4 % 60, 250 * (t % 4))}{mark}")
        put(out / kind / folder / f"{scene}.csv", "\n".join(lines) + "\n")
    path = out / "IBI" / folder / f"{scene}.csv"
    if rng.random() < 0.06:  # some files of the corpus are empty
        put(path, "")
        return
    lines, at = ["1599786000.00,IBI," + clock.format(0, 0)], 0.0
    while at < 3 * len(names):
        beat = float(rng.normal(0.8, 0.06))
        at += beat
        mark = f",{who[int(4 * at)]}" if int(4 * at) in who else ""
        lines.append(f"{at:.6f},{beat:.6f},{clock.format(int(at) % 60, 0)}{mark}")
    put(path, "\n".join(lines) + "\n")


def kemdy19(out: Path, speakers: list[str] | None = None, seed: int = 1) -> Path:
    """Writes annotation (F_res and M_res), wav, EDA and TEMP as in KEMDy19."""
    rng = np.random.default_rng(seed)
    for number, talk in enumerate(sessions(spoken(speakers)), 1):
        session, sheets = f"Sess{number:02d}", {"F": [], "M": []}
        talk = [talk[i] for i in rng.permutation(len(talk))]
        names = []
        for place, row in enumerate(talk):
            kind = "script" if place < len(talk) // 2 else "impro"
            scene = f"{session}_{kind}{1 + place % 3:02d}"
            name = f"{scene}_{row.sex.upper()}{place + 1:03d}"
            names.append(name)
            for sex in "FM":  # the one rates the actress, the other the actor, during the segment
                own = sex.lower() == row.sex
                state = row.label if own else "neutral" if rng.random() < 0.6 else rng.choice(SEVEN)
                votes = rate(str(state), rng)
                cells = ",".join(f"{w},{v},{a}" for w, v, a in votes)
                written = name
                if number == 3 and place == 5 and sex == "M":  # one id of session 3 is wrong
                    written = names[0]
                times = f"{place + 1},{3 * place:.2f},{3 * place + 2:.2f},0,1,0.2,0.3,31.0,31.1"
                sheets[sex].append(f"{times},{written},{','.join(total(votes, rng))},{cells}")
            folder = out / "wav" / f"Session{number:02d}" / scene
            write_wav(row.audio, folder / f"{name}.wav")
            put(folder / f"{name}.txt", f"{row.text} c/\n")
        head = header("Numb,Wav,,ECG,,E4-EDA,,E4-TEMP,", ",start,end,start,end,start,end,start,end")
        for sex, lines in sheets.items():
            put(out / "annotation" / f"Session{number:02d}_{sex}_res.csv",
                head + "\n".join(lines) + "\n")  # fmt: skip
        for kind, level in (("EDA", 0.4), ("TEMP", 31.5)):
            for sex in "FM":
                mine = {12 * i + t: n for i, n in enumerate(names) if n[-4] == sex
                        for t in range(8)}  # fmt: skip
                lines = [
                    f"{abs(level + rng.normal(0, 0.02)):.5f},{t / 4:.2f},10:00:{t // 4 % 60:02d}"
                    + (f",{mine[t]}" if t in mine else "")
                    for t in range(12 * len(names))
                ]
                put(out / kind / f"Session{number:02d}" / "Original" / f"{session}{sex}.csv",
                    "\n".join(lines) + "\n")  # fmt: skip
    return out


def aihub(out: Path, speakers: list[str] | None = None, seed: int = 2) -> Path:
    """Writes wav and 5차년도_2차.csv (CP949) as in AI Hub's emotional dialogue speech."""
    rng = np.random.default_rng(seed)
    spellings = {"angry": "anger", "happy": "Happiness", "sad": "sadness", "fear": "Fear"}
    raters = ",".join(f"{i}번 감정,{i}번 감정세기" for i in range(1, 6))
    lines = [f"wav_id,발화문,상황,{raters},나이,성별"]
    for row in spoken(speakers):
        name = rng.bytes(12).hex()
        write_wav(row.audio, out / "wav" / f"{name}.wav")
        votes = [(spellings.get(w, w).capitalize() if rng.random() < 0.5 else spellings.get(w, w))
                 for w, _, _ in rate(row.label, rng, 5)]  # fmt: skip
        cells = ",".join(f"{w},{rng.integers(0, 3)}" for w in votes)
        sex = "female" if row.sex == "f" else "male"
        lines.append(f'{name},"{row.text}",{spellings.get(row.label, row.label)},{cells},30,{sex}')
    put(out / "5차년도_2차.csv", "\n".join(lines) + "\n", "cp949")
    return out


def mer2024(out: Path, seed: int = 3) -> Path:
    """Writes label-6way.npz, audio, transcripts and features in MERTools' layout.

    Fear stands for worried, disgust is left out; two speakers are the test, half of the others'
    rows have no label. The features are those of the encoders that need no weights.
    """
    rng = np.random.default_rng(seed)
    words = {"angry": "angry", "fear": "worried", "happy": "happy", "neutral": "neutral",
             "sad": "sad"}  # fmt: skip
    rows = [r for r in spoken() if r.label in words]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    speech: Any = build_speech_encoder(SpeechConfig())
    text: Any = build_text_encoder(TextConfig())
    labels: dict[str, dict] = {"train_corpus": {}, "test1_corpus": {}}
    script = ["name,chinese"]
    for number, row in enumerate(rows):
        name = f"sample_{number:08d}"
        corpus = "test1_corpus" if row.speaker in ("08", "03") else "train_corpus"
        if corpus == "test1_corpus" or rng.random() < 0.5:
            labels[corpus][name] = {"emo": words[row.label]}
        write_wav(row.audio, out / "audio" / f"{name}.wav")
        script.append(f'{name},"{row.text}"')
        waves = [load_audio(row.audio, max_seconds=120, min_seconds=0)]
        features = {"acoustic-UTT": speech.encode(waves)[0],
                    "char-ngram-UTT": text.encode([row.text])[0]}  # fmt: skip
        for folder, value in features.items():
            path = out / "features" / folder / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, value.numpy())
        frames = speech.encode_frames(waves)[0].numpy()[::10]
        for t, frame in enumerate(frames):  # one file a frame, as image features come
            path = out / "features" / "acoustic-FRA" / name / f"{t + 1}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, frame)
    np.savez_compressed(out / "label-6way.npz", **labels)  # pyright: ignore[reportArgumentType]
    put(out / "transcription-merge.csv", "\n".join(script) + "\n")
    return out


# name -> (writer, speakers): no recording is in two trees that one recipe puts together
FIRST, SECOND = ["08", "09", "13", "03", "10", "11"], ["14", "16", "12", "15"]
TREES = {
    "kemdy20": (kemdy20, None),
    "kemdy20_part": (kemdy20, FIRST),
    "kemdy19_part": (kemdy19, SECOND),
    "kemdy19": (kemdy19, None),
    "aihub_part": (aihub, SECOND),
}


def build(out: Path) -> None:
    """Writes every tree that is not there yet."""
    for name, (write, speakers) in TREES.items():
        if not (out / name).is_dir():
            write(out / name, speakers)
    if not (out / "mer2024").is_dir():
        mer2024(out / "mer2024")


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("out", type=Path)
    build(parser.parse_args().out)
