"""The services by name: their addresses, their models, and what they take."""

from dataclasses import dataclass

LOOKED_UP = "2026-11-25"
"""The date when names and limits were looked up. OpenAI then planned to shut its models that speak
down on 2027-01-06."""


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """A service: its address, its model, and the variable with its key. One that speaks has a
    `voice`, and takes so many `characters` in a request."""

    url: str
    model: str
    key_env: str
    voice: str = ""
    characters: int = 0


OPENAI, GEMINI = "https://api.openai.com/v1", "https://generativelanguage.googleapis.com/v1beta"

DRAWING = {
    "openai": ServiceProfile(OPENAI, "gpt-image-2", "OPENAI_API_KEY"),
    "gemini": ServiceProfile(GEMINI, "gemini-3.1-flash-image", "GEMINI_API_KEY"),
}
SPEAKING = {
    "openai": ServiceProfile(OPENAI, "gpt-4o-mini-tts", "OPENAI_API_KEY", "alloy", 4096),
    # It takes more, but loses the end of what takes some minutes to say.
    "gemini": ServiceProfile(GEMINI, "gemini-3.8-flash-tts", "GEMINI_API_KEY", "Kore", 2000),
}
