"""A model's answer without its reasoning: removes the reasoning and markers that servers leave in.

The markers: DeepSeek, Qwen and GLM write <think>, others <thinking>, <reasoning>, <reflection> or
<seed:think>; Magistral [THINK], Kimi ◁think▷, Cohere <|START_THINKING|>; OpenAI's open models and
Gemma channels; GLM's vision models boxes. Chat templates often supply the opening tag, so an answer
may hold only the closing one.
"""

import re

from engine import writable

_NAMES = r"(?:seed:|longcat_)?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)"
_UNQUOTED = "(?<![`'\"“‘«])"
"""Text in quotation marks is text that the model saw."""

_OPENING = re.compile(
    rf"{_UNQUOTED}(?:<{_NAMES}(?: [^<>]*)?>|\[THINK\]|◁think▷|<\|START_THINKING\|>"
    r"|<\|begin_of_thought\|>|<unused94>)",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"{_UNQUOTED}(?:</{_NAMES}>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>"
    r"|<unused95>)(?!`)",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"<\|channel\|?>\s*(\w+)[^<]*?(?:<\|message\|>|\n|(?=<)|$)")
_CHANNEL_END = re.compile(r"<channel\|>")
_BARE_CHANNELS = re.compile(r"^\s*analysis(?:.*assistantfinal|[A-Z].*$)", re.DOTALL)
"""The remains of channels where a server drops every special token."""

_ENDS = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end|return|endoftext|end_of_text|end_of_sentence|eos)\|>"
    r"|<｜end▁of▁sentence｜>|<end_of_turn>|<turn\|>|<end_of_utterance>|</s>\s*$|<eos>\s*$",
)
_MARKERS = re.compile(
    r"^\s*<s>(?!.*</s>\s*\S)|^\s*<(?:bos|start_of_turn)>(?:model\b)?|\[/INST\]\s*$"
    r"|<\|(?:im_start|start|start_header_id)\|>(?:assistant\b)?|<\|[A-Za-z_]{1,40}\|>",
    re.DOTALL,
)
_WRAPPED = re.compile(
    r"^\s*<(answer|output|final|final_answer|response)>(.*?)(?:</\1>\s*)?$",
    re.DOTALL | re.IGNORECASE,
)


def description_in(said: str, *, cut_short: bool = False) -> str:
    """The description in a model's answer, as one line; "" where it holds none.

    `cut_short`: the answer ran out of tokens, so reasoning may have no closing marker. Other angle
    brackets belong to the description.
    """
    # An answer cut short may end in half of a surrogate pair, which no file can hold.
    text = _without_reasoning(_last_channel(writable(said)), cut_short)
    text = _until_the_end(text)
    if wrapped := _WRAPPED.match(text):
        text = wrapped[2]
    return " ".join(text.split())


def _last_channel(text: str) -> str:
    """The text of the answer's last channel, if that channel is meant for the user; the whole text
    if there are no channels."""
    text = _BARE_CHANNELS.sub("", text)
    *_, last = [None, *_CHANNEL.finditer(text)]
    if last is None:
        return text
    ended = _CHANNEL_END.search(text, last.end())
    if ended:  # Gemma's: the answer follows the end of a channel
        return text[ended.end() :]
    return text[last.end() :] if last[1] in ("final", "commentary") else text[: last.start()]


def _without_reasoning(text: str, cut_short: bool) -> str:
    kept, position = [], 0
    while opening := _OPENING.search(text, position):
        closing = _CLOSING.search(text, opening.end())
        if closing is None:
            break
        kept.append(text[position : opening.start()])
        position = closing.end()
    text = "".join(kept) + text[position:]
    # A closing tag alone: the template, or an outer pair of tags, had opened it.
    *_, last = [None, *_CLOSING.finditer(text)]
    if last is not None:
        text = text[last.end() :]
    opening = _OPENING.search(text)
    if opening is None:
        return text
    before = _MARKERS.sub("", text[: opening.start()])
    # Inside a sentence it is a quoted sign; reasoning begins where a sentence may begin.
    if cut_short or not before.strip() or before.endswith("\n") or before.rstrip()[-1] in ".!?:>":
        return before
    return text


def _until_the_end(text: str) -> str:
    """The text up to the first end-of-turn token; behind it models go on talking to themselves."""
    for part in _ENDS.split(text):
        said = _MARKERS.sub("", part)
        if said.strip():
            return said
    return ""
