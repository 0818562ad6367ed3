"""Embeds a whole data set with fixed shapes: batches of images, or strings, to numpy matrices."""

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Float, Int

from vlp.evals.encoding import encode, encoding
from vlp.evals.features import EMBEDDING
from vlp.evals.text_batches import text_batches, text_rows
from vlp.models.naflex import NaflexImages, device_images
from vlp.parallel.mesh import batch_parts
from vlp.parallel.sharding import batch_sharding, replicated

T = TypeVar("T")
Progress = Callable[[int], None]
"""Called with the number of rows done so far, after each batch."""

Images = jax.Array | NaflexImages

IMAGES_ON_CPU = 8  # ViT-L/14 is a tenth faster so than 64 at once
TOKENIZED = 256  # texts at a time
IN_FLIGHT = 2  # the host prepares the next batch while the device works on this one


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of the samples that could be read, in the order they came.

    Attributes:
      vectors: Unit-norm rows, or several such for each.
      ids: Which sample of the source each row is.
      rejects: How many samples could not be read, by the code of the reason; they have no row.
      features: Where features were asked for, rows of each by its name; the vectors are those of
        the first.
    """

    vectors: Float[np.ndarray, "n *q d"]
    ids: Int[np.ndarray, " n"]
    rejects: Mapping[int, int]
    features: Mapping[str, Float[np.ndarray, "n ..."]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.vectors.shape[0]

    @property
    def rejected(self) -> int:
        """How many samples could not be read."""
        return sum(self.rejects.values())


@dataclass(frozen=True, eq=False)
class Encoder:
    """A dual encoder ready to embed: `embed_images` and `embed_texts` on the host's data.

    The compiled functions are shared by all encoders of the same structure, so making one for
    every evaluation during training costs nothing.

    Attributes:
      graphdef: The structure of the model, from `nnx.split`.
      params: Its arrays, as `nnx.split` returned them or as a pure nested dict.
      text: Settings of its text tower, so that columns of padding which change nothing are left
        out; None keeps them.
      mesh: Spreads every batch over this mesh; params must live on it already. With
        several processes every process is given the same batches and gets all rows.
    """

    graphdef: Any
    params: Any
    _: KW_ONLY
    text: Mapping[str, Any] | None = None
    mesh: Mesh | None = None

    @classmethod
    def from_model(
        cls,
        model: nnx.Module,
        *,
        text: Mapping[str, Any] | None = None,
        mesh: Mesh | None = None,
    ) -> "Encoder":
        """An encoder of a live model; its arrays are copied to every device of the mesh."""
        graphdef, params = nnx.split(model)
        if mesh is not None:
            params = jax.device_put(params, replicated(mesh))
        return cls(graphdef, params, text=text, mesh=mesh)

    def embed_images(
        self,
        batches: Iterable[Mapping[str, np.ndarray]],
        *,
        modality: str = "image",
        progress: Progress | None = None,
        at_least_one: bool = True,
    ) -> Embeddings:
        """Embeddings of the images of `batches`, or of what else they hold.

        Args:
          batches: Mappings with `image` uint8 `[n,h,w,3]` (or the arrays of `NaflexImages`, for a
            model that takes these; or what the modality's tower takes, under its name) and, where
            there is something to say, `weight` (0 = rejected or padding: the row is dropped), `id`
            (index in the source; counted up from 0 otherwise) and `reject` (not 0 = rejected, by
            the code of its reason; counted).
          modality: Which tower embeds, and under which name the batches hold its inputs.
          progress: Called with the number of rows done.
          at_least_one: Refuse batches without a single good image; otherwise they have no rows.

        Raises:
          ValueError: If there is not one good image in `batches`.
        """
        found = finished(self.embedding(batches, modality=modality), progress)
        if at_least_one and not len(found):
            raise ValueError(
                f"embed_images needs at least one readable image, got {found.rejected} rejected "
                "rows and no other; are these the right files?"
            )
        return found

    def embedding(
        self,
        batches: Iterable[Mapping[str, np.ndarray]],
        *,
        modality: str = "image",
        names: tuple[str, ...] = (EMBEDDING,),
    ) -> Generator[int, None, Embeddings]:
        """`embed_images` step by step: yields the number of rows done, returns the embeddings.

        Args:
          batches, modality: As there.
          names: Of features of images, see `vlp.evals.features`.
        """
        ids: list[np.ndarray] = []
        keeps: list[np.ndarray] = []
        seen = 0
        rejects: Counter[int] = Counter()

        def images() -> Iterator[Any]:
            nonlocal seen
            for batch in batches:
                n = len(jax.tree.leaves(batch[modality])[0])
                ids.append(np.asarray(batch.get("id", np.arange(seen, seen + n)), np.int64))
                keeps.append(np.asarray(batch.get("weight", np.ones(n))) > 0)
                codes = np.asarray(batch.get("reject", ()))
                rejects.update(codes[codes > 0].tolist())
                seen += n
                yield from few(device_images(batch[modality]), parts=batch_parts(self.mesh))

        parts: deque[list[np.ndarray]] = deque()
        done = 0
        for part in self._run(encoding(modality, names), images()):
            parts.append(jax.tree.leaves(part))
            done += len(parts[-1][0])
            yield done
        if not parts:
            return Embeddings(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), rejects)
        keep = np.concatenate(keeps)
        places = np.where(keep, np.cumsum(keep) - 1, -1)
        features = dict(zip(names, placed(parts, places), strict=True))
        return Embeddings(features[names[0]], np.concatenate(ids)[keep], rejects, features)

    def embed_texts(
        self,
        texts: Sequence[str],
        tokenize: Callable[[list[str]], np.ndarray],
        *,
        batch_size: int = 256,
        full: bool = False,
    ) -> Float[np.ndarray, "n d"]:
        """Embeddings of strings, one unit-norm row each.

        Args:
          texts: At least one string.
          tokenize: Strings to int32 `[n,l]`, the same length at every call.
          batch_size: Strings encoded at once over all devices, at most; fewer on CPUs.
          full: Every batch is filled up to that size, so that nothing is compiled for another
            number of texts, and the bits of an embedding do not depend on it.

        Raises:
          ValueError: If there are no texts.
        """
        if not texts:
            raise ValueError("embed_texts needs at least one text, got none; is the list empty?")
        parts = (list(texts[i : i + TOKENIZED]) for i in range(0, len(texts), TOKENIZED))
        ids = np.concatenate([tokenize(part) for part in parts])
        return self.embed_tokens(ids, batch_size=batch_size, full=full)

    def embed_tokens(
        self, ids: Int[np.ndarray, "n l"], *, batch_size: int = 256, full: bool = False
    ) -> Float[np.ndarray, "n d"]:
        """As `embed_texts`, of texts that are tokens already; those that occur twice are encoded
        once."""
        unique, place = np.unique(ids, axis=0, return_inverse=True)
        size = text_rows(batch_size, parts=batch_parts(self.mesh))
        size = size if full else min(size, self.divisible(len(unique)))
        order: list[np.ndarray] = []

        def chunks() -> Iterator[np.ndarray]:
            for places, rows in text_batches(self.text, unique, rows=size):
                order.append(places)
                yield rows

        parts = [*self._run(partial(encode, "text"), chunks(), size=size)]
        back = np.argsort(np.concatenate(order))
        return np.concatenate(parts)[back[place.reshape(-1)]]

    def _run(
        self, encode: Callable[..., Any], chunks: Iterable[Any], *, size: int = 0
    ) -> Iterator[Any]:
        def begun() -> Iterator[tuple[Any, int]]:
            most = size
            for chunk in chunks:
                count = len(jax.tree.leaves(chunk)[0])
                most = most or self.divisible(count)
                rows = jax.tree.map(self.put, jax.tree.map(partial(pad_rows, size=most), chunk))
                yield encode(self.graphdef, self.params, rows, self.out), count

        for found, count in lagging(begun()):
            yield jax.tree.map(lambda x, count=count: np.asarray(x, np.float32)[:count], found)

    def model(self) -> Any:
        """The model, to ask what it offers; call its methods under `jax.jit` only."""
        return nnx.merge(self.graphdef, self.params)

    def put(self, rows: np.ndarray) -> Any:
        """Rows, as many as `divisible` says, on the devices of the mesh."""
        if self.mesh is None:
            return rows
        # Every process holds the whole batch and gives each of its devices that device's rows.
        sharding = batch_sharding(self.mesh)
        return jax.make_array_from_callback(rows.shape, sharding, lambda place: rows[place])

    def put_own(self, rows: np.ndarray) -> Any:
        """This process's rows of a batch, whose other rows the other processes hand in."""
        assert self.mesh is not None
        return jax.make_array_from_process_local_data(batch_sharding(self.mesh), rows)

    @property
    def out(self) -> NamedSharding | None:
        """Where results are put."""
        # Replicated, so that every process can read all rows.
        return None if self.mesh is None else replicated(self.mesh)

    @property
    def processes(self) -> int:
        """How many processes the devices of the mesh belong to."""
        if self.mesh is None:
            return 1
        return len({device.process_index for device in self.mesh.devices.flat})

    def divisible(self, n: int) -> int:
        """The next number of rows that the devices of the mesh can share."""
        return n + -n % batch_parts(self.mesh)


def few(inputs: T, *, parts: int) -> Iterator[T]:
    """A batch in slices as the devices take it: on CPUs a few rows a device, so that activations
    stay in caches; elsewhere all of it.

    Args:
      inputs: arrays of as many rows.
      parts: devices that share them.
    """
    n = len(jax.tree.leaves(inputs)[0])
    size = IMAGES_ON_CPU * parts if jax.default_backend() == "cpu" else n
    for start in range(0, n, size):
        yield jax.tree.map(lambda x, at=start: x[at : at + size], inputs)


def placed(
    parts: deque[list[np.ndarray]], places: Int[np.ndarray, " r"]
) -> list[Float[np.ndarray, "n *q d"]]:
    """The rows of all parts at their places, an array a column; parts are let go one by one, so
    that no more memory is needed than their own.

    Args:
      parts: columns of rows, in turn; emptied.
      places: where each of the rows belongs, from 0 without gaps; -1 for nowhere.
    """
    n = int(places.max(initial=-1)) + 1
    out = [np.empty((n, *column.shape[1:]), np.float32) for column in parts[0]]
    first = 0
    while parts:
        part = parts.popleft()
        where = places[first : first + len(part[0])]
        for column, rows in zip(out, part, strict=True):
            column[where[where >= 0]] = rows[where >= 0]
        first += len(where)
    return out


def lagging(begun: Iterable[T], *, by: int = IN_FLIGHT) -> Iterator[T]:
    """The same, each once so many more are begun: the host works while the device does."""
    pending: deque[T] = deque()
    for one in begun:
        pending.append(one)
        if len(pending) > by:
            yield pending.popleft()
    yield from pending


def finished(steps: Generator[int, None, T], progress: Progress | None = None) -> T:
    """What a generator returns, once it has told how far it is.

    Args:
      steps: yields the number of rows done.
      progress: called with it.
    """
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(done)


def side_by_side(
    works: Sequence[Generator[int, None, T]],
) -> Generator[int, None, list[T]]:
    """What several generators return, each a step in turn: yields the rows done of the last one.

    Args:
      works: such as `Encoder.embedding` of several models, on one iterator after `itertools.tee`.
    """
    results: dict[int, T] = {}
    while len(results) < len(works):
        done = 0
        for place, work in enumerate(works):
            if place in results:
                continue
            try:
                done = next(work)
            except StopIteration as end:
                results[place] = end.value
        if done:
            yield done
    return [results[place] for place in range(len(works))]


def match(
    ids: Int[np.ndarray, " n"], sample_of_text: Int[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Which row of the image embeddings each text belongs to, without the rejected images.

    Args:
      ids: Sample index of each row, `Embeddings.ids`.
      sample_of_text: Sample index of each text.

    Returns:
      `(texts, image_of_text)`: indices of the texts that have an image, and its row for each.
    """
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids, sample_of_text, sorter=order)
    row = order[np.minimum(place, len(ids) - 1)]
    texts = np.flatnonzero(ids[row] == sample_of_text)
    return texts, row[texts]


def pad_rows(chunk: np.ndarray, *, size: int) -> np.ndarray:
    """The rows and copies of the last one, `size` in all.

    Raises:
      ValueError: If there are more than that.
    """
    if chunk.shape[0] > size:
        raise ValueError(
            f"no batch may be larger than the first, got {chunk.shape[0]} rows after {size}; "
            "cut the data into equal batches, the last one may be shorter"
        )
    # By the last row again: a model can take it, whatever its images look like.
    widths = ((0, size - chunk.shape[0]), *((0, 0) for _ in chunk.shape[1:]))
    return np.pad(chunk, widths, mode="edge")
