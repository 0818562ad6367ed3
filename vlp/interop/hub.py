"""Models by name: fetched from the Hub into its cache by huggingface_hub, and found there again.

Fetched are the configuration, the tokenizer and one file of weights. HF_HOME, HF_ENDPOINT, HF_TOKEN
and HF_HUB_OFFLINE mean what they mean to the library.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlp.interop.pickles import PICKLES, safe_torch
from vlp.interop.weights import choose_weights

# Configurations, tokenizers, and the card with the licence.
_TEXTS = ("*.json", "*.txt", "*.model", "README.md")
_NAME = re.compile(
    r"(?P<name>[\w-][\w.-]*(/[\w-][\w.-]*)?)"
    r"(/(?P<file>[\w.-]+\.(safetensors|bin|pt|pth|json)))?"
    r"(@(?P<revision>[\w./-]+))?"
)
_CACHED = re.compile(r"models--(.+)/snapshots/([0-9a-f]+)(/.+)?$")
_UNKNOWN = (401, 404)  # the Hub tells strangers not even that a private model is there
_LICENCE = re.compile(r"^license(_name)?: *[\"']?([^\"'\n]+?)[\"']? *$", re.MULTILINE)


def is_name(text: str) -> bool:
    """Whether this could be the name of a model, see `fetch_configs`."""
    return _NAME.fullmatch(text) is not None


def fetch_configs(text: str) -> Path:
    """The folder in the cache where the files of a model lie, all small ones fetched.

    Args:
        text: "owner/name", or "owner/name/FILE" for weights of another name than the usual ones;
            "@REVISION" may stand behind either.

    Raises:
        ValueError: it is no such name, the library is missing, or there is no such model, none that
            one may have, or none that can be reached.
    """
    if not is_name(text):
        raise ValueError(
            f"a model must be a path that is there, or owner/name on the Hub with @REVISION behind "
            f"it or not; found nothing at {text!r}, which is no such name either; check the path"
        )
    return _fetched(text, list(_TEXTS), revision=_parts(text)["revision"])


def fetch_weights(text: str, folder: Path, names: Sequence[str], *, pickles: bool) -> Path:
    """What is to be opened: the folder, with one file of weights or its shards; or the file.

    Args:
        text: as for `fetch_configs`.
        folder: what that returned.
        names: the files that would do, in the order of preference.
        pickles: whether pickles are among them.

    Raises:
        ValueError: the model has none of them, or as for `fetch_configs`.
    """
    file = _parts(text)["file"]
    there = _listed(text, folder)
    wanted = [file] if file else names
    try:
        allowed = [name for name in wanted if pickles or not _is_pickle(name)]
        chosen = choose_weights(there, allowed, where=text)
    except ValueError as error:
        safe = any(name.endswith(".safetensors") for name in there)
        if pickles or safe or not any(map(_is_pickle, there)):
            raise
        raise ValueError(
            f"{text} has its weights as pickles alone, whose reading can run code; allow "
            "torch.load(weights_only=True) by --allow-pickle-weights (allow_pickle_weights=True), "
            "or give a revision with safetensors, often @refs/pr/NUMBER"
        ) from error
    if _is_pickle(chosen):
        safe_torch(chosen)  # before gigabytes are fetched
    stem, suffix = chosen.split(".index.")[0].rsplit(".", 1)
    shards = [f"{stem}-*-of-*.{suffix}", f"{stem}.*-*-of-*.{suffix}"]
    patterns = [chosen, *(shards if ".index." in chosen else [])]
    _fetched(text, patterns, revision=folder.name)
    return folder / file if file else folder


def named(path: Path) -> str:
    """What a card calls the place of a model: "owner/name@commit" for one in the cache."""
    found = _CACHED.search(path.as_posix())
    if found is None:
        return path.name
    return f"{found[1].replace('--', '/')}@{found[2]}{found[3] or ''}"


def licence(folder: Path) -> str:
    """The licence that the model card in a folder names; "unknown" where there is none."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    parts = text.split("---", 2)
    if parts[0].strip() or len(parts) < 3:
        return "unknown"
    said = dict(_LICENCE.findall(parts[1]))
    return said.get("_name") or said.get("") or "unknown"


def _is_pickle(name: str) -> bool:
    return name.split(".index.")[0].endswith(PICKLES)


def _parts(text: str) -> Mapping[str, str | None]:
    match = _NAME.fullmatch(text)
    return match.groupdict() if match else {}


def _fetched(text: str, patterns: list[str], *, revision: str | None) -> Path:
    """The folder of a model with these files; what goes wrong is said in one line."""
    library = _library()
    errors = library.errors
    try:
        folder = library.snapshot_download(
            _parts(text)["name"],
            revision=revision,
            allow_patterns=patterns,
            ignore_patterns=["*/*"],  # what other programs have in folders of their own
        )
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{text} is given to those only who accept its terms: accept them on its page, then "
            "log in with `hf auth login`, or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"{text} names a revision that the model does not have; give a branch, a tag or a "
            "commit behind the @, or none"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ValueError(
            f"{text} is not in the cache of the Hub, and the Hub is not reached (or HF_HUB_OFFLINE "
            "is set); connect once, or copy its files into a folder and give its path"
        ) from error
    except Exception as error:  # of three libraries of HTTP, by the version
        if getattr(getattr(error, "response", None), "status_code", None) in _UNKNOWN:
            raise ValueError(
                f"found neither a path {text!r} here nor a model of that name on the Hub; check "
                "the spelling, or log in with `hf auth login` (or HF_TOKEN) if it is a private one"
            ) from error
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{text} could not be fetched from the Hub: {type(error).__name__}: {reason}; try again"
        ) from error
    return Path(folder)


def _listed(text: str, folder: Path) -> list[str]:
    """The files of a model at the commit of `folder`; without the Hub those in the cache."""
    try:
        # Asked once: the library tries a listing of files for half a minute where nobody answers.
        info = _library().HfApi().model_info(_parts(text)["name"], revision=folder.name)
        return [file.rfilename for file in info.siblings]
    except Exception:  # offline, in one of the ways of three libraries
        return [path.name for path in folder.iterdir()]


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise ValueError(
            "models are fetched by name with huggingface_hub, which is not installed: pip install "
            '"vlp[hub]", or give the path of a folder'
        ) from error
    return huggingface_hub
