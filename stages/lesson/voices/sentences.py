"""Text in sentences, and sentences in what a caption holds."""

import re
from collections.abc import Sequence

_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”’）]*|\n\s*\n")
_SHORT = re.compile(
    r"\b(?:[A-Za-z]|e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|Prof|St|No|Fig|approx|bzw|ca|z\.B|d\.h)\.$"
)
"""What ends with a full stop and no sentence, most often."""


def sentences_of(text: str) -> list[str]:
    """The sentences, in order, without the white space around; together they are all the text."""
    found: list[str] = []
    begin = 0
    for end in _END.finditer(text):
        piece = text[begin : end.end()]
        if _SHORT.search(piece):
            continue
        if piece.strip():
            found.append(" ".join(piece.split()))
        begin = end.end()
    if text[begin:].strip():
        found.append(" ".join(text[begin:].split()))
    return found


def pieces_of(sentence: str, most: int) -> Sequence[str]:
    """The sentence in pieces of at most `most` characters, of about one length, cut after a comma
    where there is one near, else between words; a word that is longer is cut itself."""
    pieces: list[str] = []
    rest = sentence.strip()
    while len(rest) > most:
        wanted = len(rest) / -(-len(rest) // most)
        cuts = [m.end() for m in re.finditer(r"\s+", rest) if m.start() <= most]
        if not cuts:
            cuts = [most]
        good = [cut for cut in cuts if rest[:cut].rstrip().endswith((",", ";", ":", "–", "—"))]
        near = [cut for cut in good if abs(cut - wanted) <= most / 4]
        cut = min(near or cuts, key=lambda one: abs(one - wanted))
        pieces.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*pieces, rest] if rest else pieces
