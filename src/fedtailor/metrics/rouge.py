"""ROUGE over texts of every script.

Source: Lin, 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", sections 2 and 3, as rouge_score computes it.
Difference: that package's own tokenizer keeps a-z and 0-9 alone, so that texts of other scripts score 0 and é splits a word. Ours keeps
letters, marks and digits of every script; on ASCII texts both give the same tokens.
"""

import math
import unicodedata
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


class WordsOfAnyScript:
    """What rouge_score takes in the place of its own tokenizer."""

    def tokenize(self, text: str) -> list[str]:
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
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], tokenizer=WordsOfAnyScript())
    best = [scorer.score_multi(list(given), text)[kind].fmeasure for text, given in zip(texts, references, strict=True)]
    return math.fsum(best) / len(best)


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
