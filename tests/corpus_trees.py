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


def cremad(root: Path) -> Path:
    """CREMA-D of two actors: raters who do not always hear what was acted, one sound unnamed."""
    for name in ("1001_DFA_ANG_XX", "1001_IEO_HAP_HI", "1002_IEO_SAD_LO", "1040_ITH_SAD_X"):
        wav(root / "AudioWAV" / f"{name}.wav")
    put(root / "AudioMP3" / "1001_DFA_ANG_XX.mp3", "the same sound")
    wav(root / "AudioWAV" / "1001_notes.wav")
    put(root / "VideoFlash" / "1001_DFA_ANG_XX.flv", "film")
    put(
        root / "VideoDemographics.csv",
        '"ActorID","Age","Sex","Race","Ethnicity"\n'
        '1001,51,"Male","Caucasian","Not Hispanic"\n1002,21,"Female","Asian","Hispanic"\n',
    )
    put(root / "SentenceFilenames.csv", '"Stimulus_Number","Filename"\n1,"1001_DFA_ANG_XX"\n')
    head = (
        '"","localid","pos","ans","ttr","queryType","numTries","clipNum","questNum","subType",'
        '"clipName","sessionNums","respEmo","respLevel","dispEmo","dispVal","dispLevel"'
    )
    heard = [("1001_DFA_ANG_XX", 1, "A"), ("1001_DFA_ANG_XX", 1, "A"), ("1001_DFA_ANG_XX", 1, "N"),
             ("1001_DFA_ANG_XX", 2, "D"), ("1001_IEO_HAP_HI", 1, "N"), ("1001_IEO_HAP_HI", 1, "H"),
             ("1001_IEO_HAP_HI", 3, "H"), ("1002_IEO_SAD_LO", 1, "N")]  # fmt: skip
    lines = [
        f'"{i}","r{i}",1,"{e}_80",900,{view},0,{i},1,4,"{clip}",{i},"{e}","80","{clip[9]}","XX",20'
        for i, (clip, view, e) in enumerate(heard, 1)
    ]
    put(root / "finishedResponses.csv", "\n".join([head, *lines]) + "\n")
    put(root / "processedResults" / "tabulatedVotes.csv",
        '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote"\n'
        '"100001",2,0,0,0,1,0,"1001_DFA_ANG_XX",3,0.67,"A"\n'
        '"200001",0,1,0,0,0,0,"1001_DFA_ANG_XX",1,1,"D"\n')  # fmt: skip
    put(root / "processedResults" / "summaryTable.csv",
        '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote",'
        '"MultiModalLevel"\n"1","1001_DFA_ANG_XX","A","80","D","60","A","70"\n'
        '"2","1001_IEO_HAP_HI","H:N","50:50","H","60","H","70"\n')  # fmt: skip
    return root


MSP = [  # name, class, activation, valence, dominance, speaker, gender, set
    ("0001_0008", "N", 2.2, 4.0, 2.6, "30", "Male", "Test1"),
    ("0002_0033", "H", 5.0, 5.8, 4.4, "39", "Female", "Train"),
    ("0002_0034", "X", 3.0, 3.4, 3.2, "39", "Female", "Train"),
    ("0003_0001", "O", 3.0, 3.0, 3.0, "Unknown", "Unknown", "Train"),
    ("0003_0002", "C", 4.0, 2.5, 4.8, "Unknown", "Unknown", "Train"),
    ("0004_0007", "S", 2.0, 2.0, 2.2, "51", "Male", "Development"),
    ("0005_0001", "A", 6.0, 1.8, 5.9, "60", "Female", "Test2"),
    ("0005_0002", "U", 5.0, 4.8, 4.0, "60", "Female", "Train"),  # without a sound
]


def msp_podcast(root: Path) -> Path:
    """MSP-Podcast: every class letter, unknown speakers, a test set whose labels are withheld."""
    head = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    lines = [f"MSP-PODCAST_{name},{','.join(map(str, rest))}".replace(",", ".wav,", 1)
             for name, *rest in MSP]  # fmt: skip
    lines.append("MSP-PODCAST_test3_0001.wav,,,,,Unknown,Unknown,Test3")
    put(root / "Labels" / "labels_consensus.csv", "\n".join([head, *lines]) + "\n")
    detailed = [("0002_0033", "Happy"), ("0002_0033", "Happy"), ("0002_0033", "Other-amused"),
                ("0002_0034", "Sad"), ("0002_0034", "Neutral")]  # fmt: skip
    put(root / "Labels" / "labels_detailed.csv", "\n".join([
        "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom",
        *[f"MSP-PODCAST_{n}.wav,WORKER{i},{e},{e},4,4,4" for i, (n, e) in enumerate(detailed)],
    ]))  # fmt: skip
    for name in [f"MSP-PODCAST_{row[0]}" for row in MSP[:-1]] + ["MSP-PODCAST_test3_0001"]:
        wav(root / "Audios" / f"{name}.wav")
        put(root / "Transcripts" / f"{name}.txt", f"So this is {name}.\n")
    put(root / "Time_Labels" / "conversation_parts.txt", "x")
    return root


def esd(root: Path, split: bool = False) -> Path:
    """ESD of four speakers, each text file in another encoding, one recording misfiled."""
    words = {"Angry": ("生气", 351), "Happy": ("快乐", 701), "Neutral": ("中立", 1)}
    texts = {"0001": "gb18030", "0003": "utf-16", "0011": "utf-8", "0016": "latin-1"}
    for speaker, encoding in texts.items():
        chinese, lines = int(speaker) <= 10, []
        for emotion, (word, first) in words.items():
            for k, part in enumerate(("train", "evaluation", "test")):
                name = f"{speaker}_{first + k:06d}"
                folder = root / speaker / emotion / (part if split else "")
                wav(folder / f"{name}.wav")
                said = "打远一看，它们的确很是漂亮，" if chinese else "The café is closed, Tom."
                lines.append(f"{name}\t{said}\t{word if chinese else emotion}")
        if speaker == "0011":
            lines[0] = "0011_000351  The nine the eggs, I keep.   Surprise"  # blanks, no tab
        put(root / speaker / f"{speaker}.txt", "\r\n".join(lines) + "\r\n", encoding)
    put(root / "ReadMe.txt", "The ESD database was recorded with the aim ...\n")
    return root


def emodb2(root: Path) -> Path:
    """EmoDB 2 as audb writes it: gold standard in two parts, a recording listeners doubted."""
    names = ["03a01Fa", "03a02Wc", "08a01Nd", "08a02Tb", "14a05Lx"]
    for name in names[:4]:
        wav(root / "wav" / f"{name}.wav")
    put(root / "db.yaml", "name: emodb\nusage: unrestricted\nlanguages: [deu]\n")
    put(root / "db.files.csv", "file,duration,speaker,transcription\n" + "".join(
        f"wav/{n}.wav,0 days 00:00:01.898250,{int(n[:2])},{n[2:5]}\n" for n in names))  # fmt: skip
    put(root / "db.speaker.csv", "speaker,age,gender,language\n3,31,male,deu\n8,34,female,deu\n")
    put(root / "db.emotion.categories.train.gold_standard.csv",
        "file,emotion,emotion.confidence\nwav/03a01Fa.wav,happiness,0.9\n"
        "wav/03a02Wc.wav,anger,1.0\n")  # fmt: skip
    put(
        root / "db.emotion.categories.test.gold_standard.csv",
        "file,emotion,emotion.confidence\nwav/08a01Nd.wav,neutral,0.8\nwav/14a05Lx.wav,boredom,1\n",
    )
    put(root / "db.emotion.categories.ambiguous.csv", "file,emotion\nwav/08a02Tb.wav,sadness\n")
    return root


def tess(root: Path) -> Path:
    """TESS as its archive is: the tree once more inside itself, a name without F, one of two."""
    top = root / "TESS Toronto emotional speech set data"
    for base in (top, top / "TESS Toronto emotional speech set data"):
        for folder, names in {
            "OAF_angry": ["OAF_back_angry", "OAF_bar_angry"],
            "OAF_neutral": ["OA_bite_neutral"],
            "OAF_Pleasant_surprise": ["OAF_back_ps"],
            "YAF_sad": ["YAF_back_sad", "YAF_nice_sad"],
        }.items():
            for name in names:
                wav(base / folder / f"{name}.wav")
    wav(top / "readme_voice.wav")
    return root


def savee(root: Path, flat: bool = False) -> Path:
    """SAVEE by speakers' folders, or all in one as most copies have it."""
    for speaker in ("DC", "KL"):
        for code in ("a01", "d02", "f03", "h04", "n05", "sa06", "su07"):
            name = f"ALL/{speaker}_{code}" if flat else f"AudioData/{speaker}/{code}"
            wav(root / f"{name}.wav")
    put(root / "AudioData" / "Info.txt", "Sentences are from TIMIT.\n")
    wav(root / "AudioData" / "DC" / "calibration.wav")
    return root
