"""Labels that only say there is none: "unlabeled", "?", "未标注", "#VALUE!", -1 beside words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from .wording import setting

# The certain ones are refused until somebody says what they are, the others may be a class. Both
# stand here without case, blanks, '_', '-' and brackets around them.
CERTAIN = {
    *("unlabeled", "unlabelled", "unannotated", "notlabeled", "notlabelled", "notannotated"),
    *("nolabel", "nolabels", "nolabelyet", "tolabel", "tobelabeled", "tobeannotated", "tbd", "tba"),
    *("todo", "pending", "skipped", "notyet", "notrated", "unrated", "withoutlabel"),
    *("#value!", "#ref!", "#div/0!", "#name?", "#num!", "#null!", "#error!", "#spill!"),
    *("未标注", "未標註", "未标记", "未標記", "无标签", "無標籤", "未分类", "待标注", "未ラベル"),
    *(
        "ラベルなし",
        "ラベル無し",
        "未付与",
        "라벨없음",
        "레이블없음",
        "미라벨",
        "미라벨링",
        "미분류",
    ),
    *("미태깅", "nichtannotiert", "unannotiert", "ohnelabel", "keinlabel", "unmarkiert"),
    *("неразмечено", "безметки", "нетметки", "неаннотировано", "sinetiqueta", "sinetiquetar"),
    *("sinanotar", "nonannoté", "sansétiquette", "nonétiqueté", "semrótulo", "nãorotulado"),
    *("nonannotato", "senzaetichetta", "غيرمصنف", "بدونتصنيف", "بدونتسمية", "بدونبرچسب"),
    *("بغیرلیبل", "غیرلیبل", "etiketsiz", "bezetykiety"),
}
POSSIBLE = {
    *("unknown", "unk", "x", "xx", "xxx", "none", "na", "n.a.", "nil", "null", "undefined"),
    *("undetermined", "missing", "empty", "blank", "notavailable", "unspecified", "noagreement"),
    *("nd", "n.d.", "nr", "n.r.", "oos", "skip", "unsure", "notsure", "dontknow", "invalid"),
    *("error", "inf", "noidea", "unclear"),
    *("없음", "무", "미상", "모름", "알수없음", "불명", "无", "無", "未知", "不明", "没有", "なし"),
    *("不詳", "unbekannt", "keine", "kein", "keins", "keiner", "unklar", "неизвестно", "нет"),
    *("неясно", "desconocido", "ninguno", "ninguna", "nada", "inconnu", "aucun", "aucune"),
    *("desconhecido", "nenhum", "nenhuma", "sconosciuto", "nessuno", "nessuna", "نامعلوم"),
    *("غيرمعروف", "مجهول", "لاشيء", "ناشناخته", "هیچ", "کوئینہیں", "bilinmiyor", "yok", "nieznane"),
}
SILENT = "-‐‑‒–—―_?？\"'()[]{}<>«»“”‘’ "  # signs that alone say nothing
CODES = {"-1", "-9", "-99", "-999", "99", "999", "9999"}  # of surveys, beside labels in words


def says_no_label(label: str) -> bool:
    """Says whether a label is certainly none: one of CERTAIN, or dashes and the like alone."""
    return _word(label) in CERTAIN or not label.strip(SILENT)


def unlabelled_markers(labels: Collection[str]) -> tuple[list[str], list[str]]:
    """Returns the labels that certainly say "no label", and those that may.

    -1 is scikit-learn's word for it, and a class of its own beside 0 and 1 (a sentiment). A single
    number beside words is hardly a class.
    """
    certain, possible = [], []
    words = [label for label in labels if not _is_number(label)]
    words = [w for w in words if _word(w) not in POSSIBLE and not says_no_label(w)]
    numbers = [label for label in labels if _is_number(label)]
    for label in sorted(labels):
        code = label.removesuffix(".0")
        alone = len(words) > 1 and numbers == [label]
        below = code == "-1" and len(labels) > 3 and _is_only(label, labels)
        if says_no_label(label) or (code in CODES and words):
            certain.append(label)
        elif _word(label) in POSSIBLE or _is_sign(label) or alone or below:
            possible.append(label)
    return certain, possible


def drop_markers(markers: Iterable[str], label_map: dict[str, str]) -> str:
    """Returns the setting that makes rows with these labels unlabelled, for a shell."""
    return setting("data.label_map", {**label_map, **{m: "" for m in markers if len(m) <= 100}})


def _word(label: str) -> str:
    """Returns a label as CERTAIN and POSSIBLE write it."""
    plain = re.sub(r"[\s_\-\u2010-\u2015]+", "", unicodedata.normalize("NFC", label).casefold())
    return plain.strip("()[]{}<>\"'`«»“”‘’") or plain


def _is_sign(label: str) -> bool:
    """Says whether a label is signs of writing without a letter, such as '.' or '***'."""
    return all(unicodedata.category(char)[0] in "PZCM" for char in label)


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _is_only(label: str, labels: Collection[str]) -> bool:
    """Says whether a label is the only one of these numbers that is below 0."""
    return not any(other.startswith("-") for other in labels if other != label)
