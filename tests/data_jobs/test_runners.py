"""Every runner writes the same files, whatever the job."""

import dataclasses
import shutil
import sys
from functools import partial

import numpy as np
import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions
from apache_beam.runners.portability import flink_runner

from data_pipelines.jobs.balance import METHODS, by_queries
from data_pipelines.jobs.clusters import on_cluster
from data_pipelines.jobs.duplicates import Near, by_embedding, by_look
from data_pipelines.jobs.facts import gather_facts
from data_pipelines.jobs.label import by_nouns, write_vocabulary
from data_pipelines.jobs.rules import Rules, by_rules
from data_pipelines.jobs.runners import in_process
from data_pipelines.jobs.scores import by_score, least_score
from data_pipelines.jobs.shards import Form, write_shards
from data_pipelines.jobs.statistics import gather_statistics
from data_pipelines.jobs.verdicts import judge
from data_pipelines.jobs.work import begin
from tests.data_jobs.planted import NEAR, encoded, noise, write_samples
from tests.data_jobs.test_choosing import captions, stored, write_wordnet

COUNT, PART = 22, 4


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Data with an equal and a near picture, their vectors in three stretches, and a WordNet."""
    folder = tmp_path_factory.mktemp("given")
    pictures = [encoded(noise(i, size=20 + i)) for i in range(COUNT - 2)]
    pictures += [pictures[1], NEAR["compressed"](noise(5, size=25))]
    samples = zip(pictures, captions(COUNT), strict=True)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2, COUNT, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    shards = [
        tuple(stored(folder, f"{kind}{ids[0]}", ids, vectors[kind, ids]) for kind in (0, 1))
        for ids in np.array_split(np.arange(COUNT), 3)
    ]
    return write_samples(folder / "d.tar", samples), shards, write_wordnet(folder / "wn")


def files(folder):
    """The content of all files but the index, which has their times."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".index")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def carried_out(given, out, flags):
    """The files of every job."""
    data, shards, wordnet = given
    queries = ("cat", "dog", "red", "ice cream")

    def labels(work):
        write_vocabulary(work, flags, wordnet=wordnet, min_count=2)
        return partial(by_nouns, work=work, wordnet=wordnet)

    def best(work):
        least = least_score(work, flags, shards, 0.3)
        return partial(by_score, samples=COUNT, shards=shards, least=least)

    def balanced(work, method):
        return partial(by_queries, work=work, queries=queries, method=method, most=3)

    images = [image for image, _ in shards]
    alike = dict(samples=COUNT, shards=images, cosine=0.8)
    jobs = {
        "rules": lambda work: partial(by_rules, work=work, rules=Rules(min_side=23)),
        "look": lambda work: partial(by_look, work=work, near=Near()),
        "vectors": lambda work: partial(by_embedding, **alike),
        **{method: partial(balanced, method=method) for method in METHODS},
        "labels": labels,
        "best": best,
    }
    first = begin(str(data), out / "numbers", settings={}, part_size=PART)
    gather_facts(first, flags, pictures=True)
    gather_statistics(first, flags)
    for name, judging in jobs.items():
        work = begin(str(data), out / name, settings={}, part_size=PART)
        shutil.copytree(first.out / "facts", work.out / "facts")
        judge(work, flags, judging(work))
    write_shards(dataclasses.replace(work, out=out / "labels"), flags, Form(), chosen=True)
    return files(out)


@pytest.fixture(scope="module")
def expected(given, tmp_path_factory):
    """What the runner in this process writes."""
    return carried_out(given, tmp_path_factory.mktemp("here"), in_process(1))


# A server of jobs and workers behind it, as clusters have them, but on this machine.
OTHERS = {
    "two processes": in_process(2),
    "server": ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
}


@pytest.mark.slow
@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
def test_every_job_writes_the_same_files_on_every_runner(given, expected, tmp_path, others):
    assert carried_out(given, tmp_path, others) == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_every_job_writes_the_same_files_on_a_cluster_of_dask(given, expected, tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install 'vlp[dask]'")
    how = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with distributed.LocalCluster(**how) as cluster, distributed.Client(cluster) as client:
        address = cluster.scheduler_address
        more = [f"--dask_client_address={address}", "--dask_npartitions=3"]
        assert carried_out(given, tmp_path, on_cluster("DaskRunner", more)) == expected
        took_part = client.run(lambda: "data_pipelines.jobs.verdicts" in sys.modules)
    assert list(took_part.values()) == [True, True]


def test_flags_of_flink_reach_its_job_server(tmp_path, monkeypatch, start):
    told = []

    def asked(options):
        given = options.view_as(FlinkRunnerOptions)
        told.extend((given.flink_master, given.flink_job_server_jar))
        raise ValueError("asked")

    monkeypatch.setattr(flink_runner, "FlinkJarJobServer", asked)
    jar = tmp_path / "server.jar"
    jar.touch()
    more = [f"--flink_job_server_jar={jar}", "--flink_master=far.example:8081"]
    flags = on_cluster("FlinkRunner", more)
    work = start(write_samples(tmp_path / "d.tar", [(encoded(noise(0)), "words")]))
    with pytest.raises(ValueError, match="asked"):
        gather_facts(work, flags, pictures=False)
    assert told == ["http://far.example:8081", str(jar)]


def test_the_jar_of_a_job_server_may_be_a_url():
    more = ["--spark_job_server_jar=https://far.example/server.jar"]
    assert on_cluster("SparkRunner", more) == ["--runner=SparkRunner", *more]
