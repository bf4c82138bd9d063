"""Small corpora in the exact layouts of the published ones, with every quirk of their files."""

import wave
from pathlib import Path

import numpy as np

KEMDY_TEXT = "b/ 아 (웃음) 그래+ 네."


def wav(path: Path, seconds: float = 0.3, seed: int = 0, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *"/".join(path.parts[-2:]).encode()])
    samples = (rng.normal(0, 3000, channels * int(16_000 * seconds))).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return path


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def triples(*ratings: tuple[str, float, float]) -> str:
    return ",".join(f"{e},{v},{a}" for e, v, a in ratings)


def raters(emotions: str, valence: float = 3, arousal: float = 3) -> str:
    """Ten raters, a letter each: n neutral, h happy, a angry, d disgust, s sad, u surprise."""
    names = {"n": "neutral", "h": "happy", "a": "angry", "d": "disgust", "s": "sad"}
    names |= {"u": "surprise"}
    return triples(*[(names[c], valence, arousal) for c in emotions])


def header(first: list[str], second: list[str]) -> str:
    """The two header rows; blanks stand where a title covers several columns."""
    top = [*first, "Total Evaluation", " ", " "]
    low = [*second, "Emotion", "Valence", "Arousal"]
    for i in range(10):
        top += [f" Eval{i + 1:02d}{'FM'[i % 2]}", " ", " "]
        low += ["Emotion", "Valence", "Arousal"]
    return ",".join(top) + "\r\n" + ",".join(low) + "\r\n"


HEAD20 = header(["Numb", "Wav", " ", "Segment ID"], [" ", "start", "end", " "])
HEAD19 = header(
    ["Numb", "Wav", " ", "ECG", " ", "E4-EDA", " ", "E4-TEMP", " ", "Segment ID"],
    [" ", *["start", "end"] * 4, " "],
)


def kemdy20(root: Path) -> Path:
    """Sessions 1 and 17: 7 rated rows, of which one has no wav."""
    top = root / "KEMDy20_v1_1"
    rows = [
        ("Sess01_script01_User001F_001", "neutral,3.1,2.9", raters("nnnnnnnnnh")),
        ("Sess01_script01_User002M_001", " happy;neutral ,3.5,3.0", raters("nnnnnhhhhh")),
        ("Sess01_script01_User001F_002", "disqust,1.8,3.2", raters("ddddddnnnn")),
        ("Sess01_script02_User002M_001", "neutral;happy,3.0,", raters("hhhhhnnnnn")),
        ("Sess01_script02_User002M_009", "sad,2,2", raters("ssssssssss")),  # no wav
    ]
    lines = [f"{i},{i}.0,{i + 1}.5,{n},{t},{r}" for i, (n, t, r) in enumerate(rows, 1)]
    put(top / "annotation" / "Sess01_eval.csv", "\ufeff" + HEAD20 + "\r\n".join(lines) + "\r\n\r\n")
    rows17 = [
        ("Sess17_script01_User033F_001", "Angry,2,4", raters("aaaaaaannn")),
        ("Sess16_script01_User034M_001", "sad,2,2", raters("sssssssnnn")),  # wrong prefix
    ]
    lines = [f"{i},{i}.0,{i + 1}.5,{n},{t},{r}" for i, (n, t, r) in enumerate(rows17, 1)]
    put(top / "annotation" / "Sess17_eval.csv", HEAD20 + "\n".join(lines))
    mended = ["Sess17_script01_User033F_001", "Sess17_script01_User034M_001"]
    for i, name in enumerate([r[0] for r in rows[:4]] + mended):
        folder = top / "wav" / f"Session{name[4:6]}"
        wav(folder / (name + (".WAV" if i == 2 else ".wav")), 0.3 + 0.05 * i)
        encoding = "cp949" if i % 2 == 0 else "utf-8"
        put(folder / f"{name}.txt", KEMDY_TEXT + f" {name[-16:]}\n", encoding)
    put(top / "wav" / "Session01" / "Sess01_script01_User001F_001.txt", "n/ o/ u/ l/\n", "cp949")
    wav(top / "wav" / "Session01" / "Sess01_script06_User001F_044.wav")  # never rated
    put(top / "wav" / "._Sess01_script01_User001F_001.wav", "x")
    signals20(top)
    return root


def signals20(top: Path) -> None:
    clock = "2020-0911-10-00-00-{:03d}"
    ids = {10: "Sess01_script01_User001F_001", 60: "Sess01_script01_User001F_002"}
    for kind, level in (("EDA", 0.4), ("TEMP", 33.0)):
        lines = ["1599786000.00," + clock.format(0), "4.000000,hz"]
        for t in range(100):
            name = next((n for start, n in ids.items() if start <= t < start + 24), "")
            value = level + 0.1 * np.sin(t / 5) + 0.001 * t
            lines.append(f"{value:.6f},{clock.format(t)}" + (f",{name}" if name else ""))
        put(top / kind / "Session01" / "Sess01_script01_User001F.csv", "\r\n".join(lines) + "\r\n")
    first = ["1599786000.00,IBI," + clock.format(0)]
    first += [f"{1 + 0.8 * i:.6f},0.8,{clock.format(i)}" for i in range(4)]
    first += [f"{5 + i:.6f},0.75,{clock.format(i)},{ids[10]}" for i in range(4)]
    put(top / "IBI" / "Session01" / "Sess01_script01_User001F.csv", "\r\n".join(first))
    put(top / "IBI" / "Session01" / "Sess01_script01_User002M.csv", "")  # some are empty
    lines = ["1599786000.00," + clock.format(0), "4.000000,hz"]
    wrong = ",Sess16_script01_User034M_001"  # as in the sheet, the prefix of another session
    lines += [f"{0.3 + 0.01 * (t % 7):.3f},{clock.format(t)}{wrong}" for t in range(20)]
    put(top / "EDA" / "Session17" / "Sess17_script01_User034M.csv", "\n".join(lines))


def kemdy19(root: Path) -> Path:
    """Sessions 1 and 3: five utterances; in session 3 one sheet has a wrong id."""
    top = root / "KEMDy19"
    both = {  # id -> the total of F_res and M_res, and their raters
        "Sess01_script01_F001": ("disgust,2,3", "dddddddnnn", "neutral,3,3", "nnnnnnnnnn"),
        "Sess01_script01_M001": ("neutral,3,3", "nnnnnnnnnn", "angry;sad,2,4", "aaaaasssss"),
        "Sess01_impro02_F001": ("happy,4.5,4", "hhhhhhhnnn", "angry,2,4", "aaaaaaaaaa"),
    }
    session3 = {
        "Sess03_impro02_F001": ("sad,2,2", "ssssssssss", "neutral,3,3", "nnnnnnnnnn"),
        "Sess03_impro02_M001": ("neutral,3,3", "nnnnnnnnnn", "happy,4,4", "hhhhhhhhhh"),
    }
    for session, rated in (("01", both), ("03", session3)):
        for sex, at in (("F", 0), ("M", 2)):
            lines = []
            for i, (name, cells) in enumerate(rated.items(), 1):
                if sex == "M" and name == "Sess03_impro02_F001":
                    name = "Sess03_impro02_M001"  # the row whose id does not match
                times = f"{i},{i}.1,{i + 2}.2,1,2,3,4,5,6"
                lines.append(f"{times},{name},{cells[at]},{raters(cells[at + 1])}")
            path = top / "annotation" / f"Session{session}_{sex}_res.csv"
            put(path, HEAD19 + "\r\n".join(lines) + "\r\n")
        for name in rated:
            folder = top / "wav" / f"Session{session}" / name[:-5]
            wav(folder / f"{name}.wav", 0.3 + 0.01 * len(lines))
            put(folder / f"{name}.txt", f"c/ 안녕하세요 {name[-4:]} s/\n")
    for kind, level in (("EDA", 0.2), ("TEMP", 31.0)):
        for sex in "FM":
            lines = []
            for t in range(60):
                name = f",Sess01_script01_{'F' if t < 20 else 'M'}001" if t < 40 else ""
                lines.append(f"{level + 0.05 * np.cos(t / 3):.5f},{t / 4},10:00:{t % 60:02d}{name}")
            put(top / kind / "Session01" / "Original" / f"Sess01{sex}.csv", "\n".join(lines))
    return root
