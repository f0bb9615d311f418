"""What of a model's answer is the description."""

import pytest

from stages.vision.text import description_in

CAT = "A cat on a mat."


@pytest.mark.parametrize(
    "said",
    [
        f" {CAT}\n",
        "A cat\non a  mat.",
        f"<think>Hm, a cat?</think>\n\n{CAT}",
        f"The user wants a description.\nA cat, then.\n</think>\n\n{CAT}",
        f"<think>a<think>b</think>c</think>{CAT}",
        f"<think></think>A cat <think>or a dog?</think>on a mat.",  # noqa: F541
        f"<thinking>Hm.</thinking>{CAT}",
        f"<Thinking>Hm.</Thinking>{CAT}",
        f"<reasoning>Hm.</reasoning>{CAT}",
        f"Hm.</reasoning>{CAT}",
        f"<reflection>Hm.</reflection>{CAT}",
        f"<seed:think>Hm.</seed:think>{CAT}",
        f'<think time="3">Hm.</think>{CAT}',
        f"[THINK]Hm.[/THINK]{CAT}",
        f"Hm.[/THINK]{CAT}",
        f"◁think▷Hm.◁/think▷{CAT}",
        f"Hm.◁/think▷{CAT}",
        f"<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>{CAT}<|END_RESPONSE|>",
        f"<unused94>thought\nHm.<unused95>{CAT}",
        f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{CAT}",
        f"<|channel|>analysis Hm.<|channel|>final<|message|>{CAT}<|return|>",
        f"<|channel|>final<|message|>{CAT}",
        f"analysisHm, a cat.assistantfinal{CAT}",
        f"<|channel>thought\nHm.\n<channel|>{CAT}",
        f"<|begin_of_box|>{CAT}<|end_of_box|>",
        f"<think>Hm.</think><answer><|begin_of_box|>{CAT}<|end_of_box|></answer>",
        f"<thinking>Hm.</thinking><output>{CAT}</output>",
        f"{CAT}<|im_end|>",
        f"{CAT}</s>",
        f"{CAT}<end_of_turn>\n",
        f"{CAT}<|eot_id|>",
        f"{CAT}<｜end▁of▁sentence｜>",
        f"{CAT}<|im_end|>\n<|im_start|>user\nAnd now?",
        f"<|im_start|>assistant\n{CAT}<|im_end|>",
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{CAT}",
        f"<s>{CAT}</s>",
        f"{CAT}\n<think>The user may want more.",
        f"{CAT} <think>The user may want more.",
    ],
)
def test_only_the_description_is_left(said: str) -> None:
    assert description_in(said) == CAT


@pytest.mark.parametrize(
    "said",
    [
        "",
        " \n",
        "<think>It may be a cat, or",
        "<|im_start|>assistant\n<think>It may be",
        "<reasoning>It may be a cat, or",
        "[THINK]It may be",
        "◁think▷It may be",
        "<|channel|>analysis<|message|>It may be",
        "<|channel>thought\nIt may be",
        "analysisIt may be",
        "<think>It is a cat.</think>",
        "It is a cat.</think>",
        "<|im_end|>",
        "<|begin_of_box|><|end_of_box|>",
    ],
)
def test_what_is_only_reasoning_is_no_description(said: str) -> None:
    assert description_in(said, cut_short=True) == ""
    assert description_in(said) == ""


@pytest.mark.parametrize(
    "said",
    [
        "A screen shows <html>, </div> and <b>bold</b> text.",
        "A board says 3 < 4 > 2, <3 and x<y>z.",
        "A page with <s>old</s> prices.",
        'A whiteboard says "</think>" and "<think>".',
        "A screen shows `<think>hm</think>` in a terminal.",
        "A sign reads <thinking> in big letters.",
        "A man thinking, in [brackets] and [INST].",
        "Analysis of a chart on an assistant's final screen.",
        "A poster with an <answer> to a riddle.",
        "A logo: |im_end| and <unused> cells.",
    ],
)
def test_angle_brackets_of_a_description_stay(said: str) -> None:
    assert description_in(said) == said


def test_reasoning_that_is_cut_short_is_left_out_wherever_it_begins() -> None:
    assert description_in("A cat on <think>hm", cut_short=True) == "A cat on"


def test_half_a_character_can_be_written() -> None:
    assert description_in("A cat \ud83d").encode() == b"A cat ?"
