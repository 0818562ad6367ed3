"""Small tasks of MTEB made of pictures at hand; nothing is fetched."""

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskClassification, AbsTaskRetrieval, AbsTaskZeroShotClassification
from mteb.abstasks.image.image_text_pair_classification import AbsTaskImageTextPairClassification
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata


def _metadata(kind, name, score, category, modalities):
    found = TaskMetadata(
        type=kind,
        name=name,
        main_score=score,
        description="made by a test",
        reference=None,
        dataset={"path": "none", "revision": "none"},
        category=category,
        modalities=modalities,
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
    )
    return found


def zero_shot(images, labels, prompts):
    """Which prompt is a picture's, by its number."""

    class ZeroShot(AbsTaskZeroShotClassification):
        metadata = _metadata(
            "ZeroShotClassification", "MadeZeroShot", "accuracy", "i2t", ["image", "text"]
        )

        def load_data(self, **_):
            given = Dataset.from_dict({"image": images, "label": labels})
            self.dataset = DatasetDict({"test": given})
            self.data_loaded = True

        def get_candidate_labels(self):
            return prompts

    return ZeroShot()


def probe(images, labels):
    """Logistic regression on embeddings, of the same pictures."""

    class Probe(AbsTaskClassification):
        metadata = _metadata("ImageClassification", "MadeProbe", "accuracy", "i2c", ["image"])
        input_column_name = "image"
        samples_per_label, n_experiments = 4, 3

        def load_data(self, **_):
            given = Dataset.from_dict({"image": images, "label": labels})
            self.dataset = DatasetDict({"test": given, "train": given})
            self.data_loaded = True

    return Probe()


def retrieval(queries, corpus, relevant, *, category):
    """Queries find documents.

    Args:
        queries, corpus: columns by name.
        relevant: rows of both that belong together.
        category: such as "t2i".
    """
    kinds = {"i": "image", "t": "text"}

    class Retrieval(AbsTaskRetrieval):
        metadata = _metadata(
            "Any2AnyRetrieval",
            f"Made{category}",
            "ndcg_at_10",
            category,
            sorted({kinds[letter] for letter in category if letter in kinds}),
        )
        k_values = (1, 5, 10)

        def load_data(self, **_):
            docs = {}
            for query, document in relevant:
                docs.setdefault(f"q{query}", {})[f"d{document:05d}"] = 1
            given = RetrievalSplitData(
                queries=_numbered(queries, "q{}"),
                corpus=_numbered(corpus, "d{:05d}"),
                relevant_docs=docs,
                top_ranked=None,
            )
            self.dataset = {"default": {"test": given}}
            self.data_loaded = True

    return Retrieval()


def pairs(images, texts):
    """Two pictures and two captions a row."""

    class Pairs(AbsTaskImageTextPairClassification):
        metadata = _metadata("Compositionality", "MadePairs", "accuracy", "i2t", ["image", "text"])
        images_column_names, texts_column_names = ["image_0", "image_1"], ["text_0", "text_1"]

        def load_data(self, **_):
            columns = {f"image_{k}": [row[k] for row in images] for k in (0, 1)}
            columns |= {f"text_{k}": [row[k] for row in texts] for k in (0, 1)}
            self.dataset = DatasetDict({"test": Dataset.from_dict(columns)})
            self.data_loaded = True

    return Pairs()


def _numbered(columns, name):
    count = len(next(iter(columns.values())))
    return Dataset.from_dict({"id": [name.format(row) for row in range(count)], **columns})
