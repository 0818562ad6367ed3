"""The files of a tokenizer in a folder of transformers, and what they say of special tokens."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from data_pipelines.tokens.clip import read_merges
from vlp.interop.weights import check_fetched, read_json_object

# In the order in which transformers adds them.
_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_NAMED = tuple(f"{role}_token" for role in _ROLES)


class TokenizerFolder:
    """A folder, opened.

    Args:
        folder: where the files are.
        model: content of config.json; the folder's own unless given.

    Attributes:
        config: content of tokenizer_config.json, empty where there is none.
        model: content of config.json, likewise.
        pipeline: content of tokenizer.json, likewise.
        ids: of the tokens that were added to the vocabulary or are special in it, by name.
    """

    def __init__(self, folder: Path, model: Mapping[str, Any] | None) -> None:
        self.folder = folder
        self.config = self.json("tokenizer_config.json")
        self.model = self.json("config.json") if model is None else model
        self.pipeline = self.json("tokenizer.json")
        self._said = dict(self.config)
        decoder = self.config.get("added_tokens_decoder")
        if decoder is None:  # as before transformers 4.34
            self._said |= {k: x for k, x in self.json("special_tokens_map.json").items() if x}
            decoder = self._added_before()
        self._names = {key: self._said[key] for key in _NAMED if self._said.get(key)}
        wrong = [key for key in decoder if not str(key).isdecimal()]
        if wrong:
            raise ValueError(f"ids of tokens in {folder} must be whole numbers, got {wrong[0]!r}")
        self.ids = {_content(decoder[key]): int(key) for key in decoder}
        self._listed = [_added(decoder[key]) for key in sorted(decoder, key=int)]

    def _added_before(self) -> dict[Any, Any]:
        """Tokens by id, from the files that had them before tokenizer_config.json did."""
        named = [self._said[key] for key in _NAMED if self._said.get(key)]
        # Not those of special_tokens_map.json without a role, to which transformers comes too late.
        more = self.config.get("additional_special_tokens") or ()
        extra = self._said.get("extra_special_tokens") or ()
        special = {_content(token) for token in (*named, *more, *extra)}
        older = {
            number: {"content": name, "normalized": name not in special, "special": name in special}
            for name, number in self.json("added_tokens.json").items()
        }
        return older | {token["id"]: token for token in self.pipeline.get("added_tokens", ())}

    def json(self, file: str) -> dict[str, Any]:
        """The content of a JSON file, empty if it is not there."""
        return read_json_object(self.folder / file, optional=True)

    def bytes(self, file: str) -> bytes:
        """The content of a file that must be there."""
        path = self.folder / file
        if not path.is_file():
            raise ValueError(
                f"the class of the tokenizer in {self.folder} needs {file}, found none there; copy "
                "it from where the model was published"
            )
        check_fetched(path)
        return path.read_bytes()

    def names(self, defaults: Mapping[str, str]) -> dict[str, Any]:
        """Role such as "pad_token" -> name of the token, for the roles that a class has."""
        return {key: _content(self._names.get(key) or name) for key, name in defaults.items()}

    def flagged(self) -> list[AddedToken]:
        """The special tokens whose flags the files tell, and additional ones."""
        tokens = {token.content: token for token in self._listed}
        more = [token for token in self._names.values() if not isinstance(token, str)]
        for name in ("additional_special_tokens", "extra_special_tokens"):  # without a role
            more += self._said.get(name) or ()
        for token in map(_added, more):
            tokens.setdefault(token.content, token)
        return list(tokens.values())

    def special(self, defaults: Mapping[str, str]) -> list[AddedToken]:
        """All special tokens as transformers makes them: a mere name undoes flags given by name."""
        tokens = {token.content: token for token in self.flagged()}
        listed = {token.content for token in self._listed}
        roles = {**defaults, **self._names}
        for token in (roles[key] for key in _NAMED if isinstance(roles.get(key), str)):
            if token not in listed:
                tokens[token] = _added(token)
        return list(tokens.values())

    def side(self, default: str = "right") -> str:
        """Where padding goes."""
        padding = self.pipeline.get("padding") or {}
        return self.config.get("padding_side") or padding.get("direction", default).lower()

    def settings(self, defaults: Mapping[str, str], *, side: str = "right") -> dict[str, Any]:
        """What the classes of most tokenizers take: the side of padding, and special tokens."""
        special = dict(padding_side=self.side(side), special=self.special(defaults))
        return special | self.names(defaults)

    def merges(self) -> list[tuple[str, str]]:
        """The merges of a byte-pair encoding, from either file."""
        if not self.pipeline:
            return read_merges(self.bytes("merges.txt"), "merges.txt")
        merges = self.pipeline["model"]["merges"]
        pairs = (m.split(" ") if isinstance(m, str) else m for m in merges)
        return [(first, second) for first, second in pairs]

    def vocabulary(self, file: str = "tokenizer.json") -> Any:
        """The vocabulary in tokenizer.json, else the content of the JSON in `file`."""
        if self.pipeline:
            return self.pipeline["model"]["vocab"]
        return json.loads(self.bytes(file))


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]


def _added(token: str | Mapping[str, Any]) -> AddedToken:
    if isinstance(token, str):
        return AddedToken(token, special=True, normalized=False)
    flags = {key: value for key, value in token.items() if key not in ("__type", "content", "id")}
    return AddedToken(token["content"], **({"special": True} | flags))
