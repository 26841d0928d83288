"""ROUGE over texts of every script.

Source: Lin, 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", sections 2 and 3; with the same tokens the figures are those of the
package rouge_score, which loads a toolkit of linguistics for a second and a half.
Difference: that package's own tokenizer keeps a-z and 0-9 alone, so that texts of other scripts score 0 and é splits a word. Ours keeps
letters, marks and digits of every script; on ASCII texts both give the same tokens.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

ZERO_WIDTH_SPACE = "\u200b"  # parts words where no space is seen; other invisible signs stand inside of words
UNSPACED = (  # how the names of letters begin whose scripts have no spaces between words: each letter is a token of its own
    "CJK ",
    "IDEOGRAPHIC ",
    "HIRAGANA ",
    "KATAKANA",
    "BOPOMOFO ",
    "YI SYLLABLE",
    "THAI ",
    "LAO ",
    "KHMER ",
    "MYANMAR ",
    "TAI ",
    "NEW TAI ",
    "JAVANESE ",
)


def words_of(text: str) -> list[str]:
    """Return the words of a text, without case: runs of letters, marks and digits; single letters in scripts without spaces.

    Texts that look alike are alike: compatibility forms are folded (NFKC), and signs that are not seen inside a word do not part it.
    """
    words: list[str] = []
    word = ""
    for sign in unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()):
        sort = _sort(sign)
        if sort == "invisible":
            continue
        if sort in ("between", "alone"):
            words += [word] if word else []
            word = ""
        if sort == "mark" and not word and words and _sort(words[-1][0]) == "alone":
            words[-1] += sign
        elif sort == "alone":
            words.append(sign)
        elif sort in ("inside", "mark"):
            word += sign
    return [*words, word] if word else words


def rouge(kind: str, texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean over texts of a ROUGE F-measure, 0 to 1, each against its best reference; stems are not cut.

    Args:
        kind: rouge1, rouge2 (words, pairs of words) or rougeL (longest common subsequence).
    """
    common, size = (_in_order, 1) if kind == "rougeL" else (_in_any_order, int(kind.removeprefix("rouge")))
    best = []
    for text, given in zip(texts, references, strict=True):
        found = _runs(words_of(text), size)
        best.append(max(_f_measure(common(want, found), want, found) for want in (_runs(words_of(one), size) for one in given)))
    return math.fsum(best) / len(best)


Runs = Sequence[tuple[str, ...]]  # of so many words each, in the order of the text


def _runs(words: Sequence[str], size: int) -> Runs:
    return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]


def _in_any_order(one: Runs, other: Runs) -> int:
    return (Counter(one) & Counter(other)).total()


def _in_order(one: Runs, other: Runs) -> int:
    """Return the length of the longest common subsequence."""
    above = [0] * (len(other) + 1)
    for run in one:
        row = [0]
        for place, beside in enumerate(other):
            row.append(above[place] + 1 if run == beside else max(above[place + 1], row[place]))
        above = row
    return above[-1]


def _f_measure(common: int, want: Runs, found: Runs) -> float:
    precision, recall = common / max(len(found), 1), common / max(len(want), 1)
    return 2 * precision * recall / (precision + recall) if common else 0.0


@lru_cache(maxsize=2**14)
def _sort(sign: str) -> str:
    """Return what a character does: it stands inside a word, alone, as a mark on what is before it, between words, or is not seen."""
    category = unicodedata.category(sign)
    if category == "Cf" and sign != ZERO_WIDTH_SPACE:
        return "invisible"
    if category[0] == "M":
        return "mark"
    if category[0] not in "LN":
        return "between"
    unspaced = (category[0] == "L" or sign == "〇") and unicodedata.name(sign, "").startswith(UNSPACED)
    return "alone" if unspaced else "inside"
