"""Where a server with OpenAI's protocol takes requests; Azure's differ."""

from urllib.parse import quote, urlsplit

AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
AZURE_VERSION = "2024-10-21"


def is_azure(base_url: str) -> bool:
    """Whether the host is Azure's: then the key goes into the api-key header."""
    return (urlsplit(base_url).hostname or "").endswith(AZURE_HOSTS)


def openai_address(
    base_url: str, path: str, model: str, *, azure: bool, version: str | None = None
) -> str:
    """The address of `path`, such as "/audio/speech", which the base may end with already.

    On Azure the deployment, which is named like the model, and the api-version are added to a base
    that lacks them.
    """
    url = base_url.rstrip("/").removesuffix(path)
    if azure and not urlsplit(url).path.rstrip("/").endswith("/v1"):
        if "/deployments/" not in url:
            url = f"{url.removesuffix('/openai')}/openai/deployments/{quote(model, safe='')}"
        version = version or AZURE_VERSION
    url += path
    return f"{url}?api-version={quote(version)}" if version else url
