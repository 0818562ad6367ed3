"""Twenty queries as people type them: where the right emoji ends up.

  python benchmarks/natural_queries.py runs/emoji

The queries and what is right for each were fixed before any model was asked, from the names, short
names and groups of the emoji data alone; no query may be changed to suit a model. An emoji is named
by its code points without skin tones: every tone of a right one is right. Prints the best rank of a
right picture, 1 = first, among all of each set; a tie counts against the model.
"""

import argparse
from typing import Any

import numpy as np

from data_pipelines.evaluation import eval_images
from data_pipelines.opening import open_source
from vlp.evals.embed import Encoder
from vlp.interop.load import load_run

DATA = ("emoji:twemoji", "emoji:noto-train")
FIRST = 5  # as many pictures as a person looks at
QUERIES: dict[str, tuple[str, ...]] = {
    "a red heart": ("2764-FE0F", "2665-FE0F"),  # the heart, and the suit of cards
    "a slice of pizza": ("1F355",),
    "a dog": ("1F436", "1F415", "1F9AE", "1F415-200D-1F9BA", "1F429"),  # guide, service, poodle
    "a black cat": ("1F408-200D-2B1B",),
    "someone running": (  # person, man, woman, and each of them facing right
        "1F3C3", "1F3C3-200D-2642-FE0F", "1F3C3-200D-2640-FE0F", "1F3C3-200D-27A1-FE0F",
        "1F3C3-200D-2642-FE0F-200D-27A1-FE0F", "1F3C3-200D-2640-FE0F-200D-27A1-FE0F",
    ),
    "a smiling face with sunglasses": ("1F60E",),
    "a sad face with tears": ("1F622", "1F62D", "1F63F", "1F625"),  # a cat's, and one with a drop
    "a birthday cake with candles": ("1F382",),
    "a cup of coffee": ("2615",),
    "a glass of beer": ("1F37A", "1F37B"),
    "a fast train": ("1F684", "1F685"),
    "a rocket going to space": ("1F680",),
    "a Christmas tree": ("1F384",),
    "a snowman": ("2603-FE0F", "26C4"),
    "two people holding hands": (
        "1F9D1-200D-1F91D-200D-1F9D1", "1F46D", "1F46B", "1F46C",
    ),
    "a plane taking off": ("1F6EB",),
    "the flag of Japan": ("1F1EF-1F1F5",),
    "a bowl of noodles": ("1F35C",),
    "a birthday present": ("1F381",),
    "thumbs up": ("1F44D",),
}  # fmt: skip


def main() -> None:
    """Asks everything of every set and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a run of vlp, or weights of another stack")
    run = load_run(parser.parse_args().model)
    encoder = Encoder.from_model(run.model, text=run.card["model"]["text"])
    ztxt = encoder.embed_texts(list(QUERIES), run.tokenize)
    ranks = {data: _ranks(run, encoder, ztxt, data) for data in DATA}
    print(f"| query | {' | '.join(ranks)} |\n|---|{'---|' * len(ranks)}")
    for place, query in enumerate(QUERIES):
        print(f"| {query} | {' | '.join(str(found[place]) for found in ranks.values())} |")
    hits = (f"{sum(rank <= FIRST for rank in found)} of {len(QUERIES)}" for found in ranks.values())
    print(f"| **among the first {FIRST}** | {' | '.join(hits)} |")


def _ranks(run: Any, encoder: Encoder, ztxt: np.ndarray, data: str) -> list[int]:
    """The rank of the best right picture of each query."""
    source = open_source(data)
    images = encoder.embed_images(eval_images(source, run.preprocess, batch_size=256))
    bases = np.asarray([source.meta(index)["base"] for index in images.ids.tolist()])
    ranks = []
    for vector, right in zip(ztxt, QUERIES.values(), strict=True):
        scores, is_right = images.vectors @ vector, np.isin(bases, right)
        missing = set(right) - set(bases.tolist())
        assert not missing, f"{data} must hold every right emoji, lacks {sorted(missing)}"
        ranks.append(1 + int(np.sum(~is_right & ~(scores < scores[is_right].max()))))
    return ranks


if __name__ == "__main__":
    main()
