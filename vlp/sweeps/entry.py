"""One line of a suite: a set, the tasks on it, and what is known of both."""

import dataclasses
from collections.abc import Mapping
from typing import Any

LAYOUTS = (
    "auto", "clip_benchmark", "captions", "pairs", "questions", "masks", "mmeb", "objectnet",
    "folders", "data",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """A set of a suite.

    Attributes:
      name: as rows call it; in a suite only once.
      data: where it lies below the root, or a data spec such as `emoji:noto`; by its name unless
        given, see `vlp.sweeps.places.find`.
      also: other places below the root where it may lie.
      tfds: what TFDS calls it, with the split, `clevr[validation]`: read where nothing else is
        there, and prepared.
      layout: how it lies there; "auto" looks.
      split: of the layouts that have several.
      train: the split that probes learn from; "" for none.
      tasks: what is asked; what the set has unless given.
      metric: the main one, `TASK/METRIC`; the task's own unless given.
      classes: the classes' names by the name of a set, or a file of them; in place of those of the
        layout. See `vlp.sweeps.classes`.
      templates: a set of templates by name, or a file; in place of those of the layout.
      default_classes, default_templates: the same, where the layout has none.
      captions: "all" of a picture, the "first", or so many, "5".
      language: of captions, where there are several.
      label: the field of a sample that is its class, where a layout does not say: cls or label
        unless given; `clevr_count` and others of `vlp.sweeps.layouts.derived` are made of several.
      fields: of the samples, whose values put pictures into groups.
      columns: names of the columns of KEY.npy, whose values put pictures into groups; of questions,
        what the columns of a table are called, `image=...`, `text=...`, see
        `vlp.sweeps.layouts.questions`.
      settings: of the tasks, by task.
      group: under which scores are put together.
      published: what this set is called in tables of other programs.
      samples, chance: as published, for those who have not got it.
      source, licence: where it comes from, and what may be done with it.
      needs: what one must do to get it.
    """

    name: str
    data: str = ""
    also: tuple[str, ...] = ()
    tfds: str = ""
    layout: str = "auto"
    split: str = "test"
    train: str = ""
    tasks: tuple[str, ...] = ()
    metric: str = ""
    classes: str = ""
    templates: str = ""
    default_classes: str = ""
    default_templates: str = ""
    captions: str = "all"
    language: str = "en"
    label: str = ""
    fields: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    group: str = ""
    published: str = ""
    samples: int = 0
    chance: float | None = None
    source: str = ""
    licence: str = ""
    needs: str = ""

    @classmethod
    def of(cls, where: str, values: Mapping[str, Any]) -> "Entry":
        """The entry that a table says.

        Args:
          where: the table, for messages.
          values: its keys and values.

        Raises:
          ValueError: a key is unknown, or a value is of another type.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(values.keys() - fields.keys())
        if unknown:
            raise ValueError(
                f"{where}: a set has {', '.join(fields)}, got {unknown[0]!r}; leave that out"
            )
        if not isinstance(values.get("name"), str) or not values["name"]:
            raise ValueError(f"{where}: a set must have a name, got {values.get('name')!r}")
        given: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        for name, value in given.items():
            _check(f"{where}, {values['name']}: {name}", fields[name].type, value)
        if given.get("layout", "auto") not in LAYOUTS:
            raise ValueError(
                f"{where}, {values['name']}: layout must be one of {', '.join(LAYOUTS)}, got "
                f"{given['layout']!r}"
            )
        which = given.get("captions", "all")
        if which not in ("all", "first") and not (which.isdecimal() and int(which)):
            raise ValueError(
                f"{where}, {values['name']}: captions must be all, first, or how many of a picture "
                f"(5), got {which!r}"
            )
        return cls(**given)

    @property
    def most_captions(self) -> int | None:
        """How many captions of a picture count; None for all."""
        known: dict[str, int | None] = {"all": None, "first": 1}
        return known[self.captions] if self.captions in known else int(self.captions)


_KINDS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    tuple[str, ...]: (tuple,),
    float | None: (int, float),
    Mapping[str, Mapping[str, Any]]: (dict,),
}


def _check(where: str, kind: Any, value: Any) -> None:
    kinds = _KINDS[kind]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"{where} must be {kinds[-1].__name__}, got {value!r}")
    inside: Any = value if kinds == (tuple,) else ()
    if not all(isinstance(each, str) for each in inside):
        raise ValueError(f"{where} must be a list of texts, got {list(inside)}")
