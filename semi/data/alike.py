"""Names that a reader may take for one: two spellings of a word, two words for one emotion."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from .missing import INVISIBLE

SIGNS = " .,;:!?#*'\"`´‘’“”„«»()[]{}<>،؛؟。、！？¿¡"  # at the ends of a name
# Letters of other scripts, or of other keyboards, that look the same.
SAME = str.maketrans("аеорсухіјѕԁһονιυρيىكہۀةە", "aeopcyxijsdhoviupییکهههه")
# Words for one emotion, in one language or in two; the first is the name that they have in common.
# What only some would put together (excited with happiness, calm with neutral) is not here.
MEANINGS = (
    "anger angry ang rage wut wütend ärger aerger ärgerlich zorn zornig 분노 화남 生气 愤怒 憤怒 "
    "怒り 怒 غصہ غصه غضب гнев злость enfado ira colère raiva rabbia öfke złość",
    "happiness happy hap joy joyful freude freudig fröhlich glücklich glück 기쁨 행복 즐거움 "
    "高兴 開心 开心 快乐 喜び 嬉しい خوشی خوش فرح سعادة радость счастье alegría felicidad "
    "joie alegria gioia mutlu mutluluk radość",
    "sadness sad trauer traurig traurigkeit 슬픔 슬픈 悲伤 悲傷 伤心 难过 悲しみ اداسی غم حزن "
    "грусть печаль tristeza tristesse tristezza üzgün üzüntü smutek",
    "fear fearful fea afraid scared angst ängstlich furcht 공포 두려움 恐惧 恐懼 害怕 恐れ "
    "خوف ڈر страх miedo peur medo paura korku strach",
    "disgust disgusted dis ekel angeekelt 혐오 厌恶 厭惡 嫌悪 نفرت قرف اشمئزاز отвращение "
    "asco dégoût nojo disgusto iğrenme wstręt",
    "surprise surprised sur pleasant_surprise überraschung überrascht 놀람 놀라움 "
    "惊讶 驚訝 吃惊 驚き حیرت مفاجأة удивление sorpresa surpresa şaşkınlık zaskoczenie",
    "neutral neutrality neu 중립 중성 무감정 中性 平静 中立 غیرجانبدار محايد нейтрально neutro "
    "neutre neutrale nötr neutralny",
    "boredom bored langeweile 지루함",
    "contempt contemptuous verachtung",
    "frustration frustrated fru",
)  # fmt: skip


def looks(text: str) -> str:
    """Returns what two spellings have in common that a reader may take for one word."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(SAME)
    plain = "".join(char for char in plain if char not in INVISIBLE)
    try:
        return repr(float(plain))
    except ValueError:
        return re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", plain.strip(SIGNS)) or plain.strip()


def twins(names: Iterable[str]) -> list[tuple[str, str]]:
    """Returns the pairs of names that differ only in case, width, blanks, signs or like letters."""
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        other = seen.setdefault(looks(name), name)
        if other != name:
            pairs.append((other, name))
    return pairs


def synonyms(names: Sequence[str]) -> list[list[str]]:
    """Returns the groups of names that are words for one emotion, such as anger and angry."""
    groups: dict[str, list[str]] = {}
    first = {looks(name): name for name in reversed(names)}  # of twins one
    for plain, name in sorted(first.items(), key=lambda found: found[1]):
        if plain in MEANING:
            groups.setdefault(MEANING[plain], []).append(name)
    return [group for group in groups.values() if len(group) > 1]


MEANING = {looks(word): words.split()[0] for words in MEANINGS for word in words.split()}
