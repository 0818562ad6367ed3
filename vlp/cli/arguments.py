"""Flags that several commands have, and the types of their values."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipelines.limits import LIMITS, Limits
from data_pipelines.threads import THREADS
from vlp.cli.parser import Joined
from vlp.remote import is_remote, remote

if TYPE_CHECKING:
    from data_pipelines.sources import Source


def local_path(value: str) -> str:
    """The value of a flag that names where to write, as argparse's `type`.

    Raises:
        ArgumentTypeError: it lies in an object store.
    """
    if is_remote(value):
        raise argparse.ArgumentTypeError(
            f"must be a path of this machine's file systems, got {value}; runs, exports and the "
            "results of vlp eval are written to object stores, these are not: give a mounted "
            "folder, or copy it there"
        )
    return value


def local_folder(value: str) -> str:
    """The value of a flag that names a folder to write in, as argparse's `type`.

    Raises:
        ArgumentTypeError: it lies in an object store, or is a file or behind one.
    """
    from vlp.jobs.outputs import file_on_the_way

    file = file_on_the_way(Path(local_path(value)))
    if file:
        raise argparse.ArgumentTypeError(f"must be a folder, {file} is a file; give another")
    return value


def any_path(value: str) -> str:
    """The value of a flag that names where to write, here or in an object store, as argparse's
    `type`.

    Raises:
        ArgumentTypeError: it lies in a store that is not known, or needs a package.
    """
    try:
        return str(remote(value)) if is_remote(value) else value
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def any_folder(value: str) -> str:
    """As `any_path`, of a folder.

    Raises:
        ArgumentTypeError: as there, or it is a file or behind one.
    """
    return any_path(value) if is_remote(value) else local_folder(value)


def add_data_argument(
    parser: argparse.ArgumentParser, *, required: bool = True, default: str = ""
) -> None:
    """Adds the flag that names data; given several times, as by a shell that takes braces apart, it
    names all of them.

    Args:
        parser: of a command.
        required: whether it must be given.
        default: what is taken where it is not, in words.
    """
    several = "tars, a folder, pictures, or emoji:NAME; several by commas, or given again"
    parser.add_argument(
        "--data",
        action=Joined,
        required=required,
        help=f"{several}; default: {default}" if default else several,
    )


def add_count_argument(
    parser: argparse.ArgumentParser, flag: str, *, default: int, what: str
) -> None:
    """Adds a flag of how many there are of what; its help says the default."""
    parser.add_argument(
        flag, type=int, default=default, metavar="N", help=f"{what} (default %(default)s)"
    )


def add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of everything that decodes pictures."""
    what = "batches of pictures that are decoded at the same time"
    add_count_argument(parser, "--threads", default=THREADS, what=what)
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"leave out larger pictures, height times width (default {LIMITS.pixels})",
    )


def limits(args: argparse.Namespace) -> Limits:
    """How large samples may be, by the flags."""
    return LIMITS if args.max_pixels is None else Limits(pixels=args.max_pixels)


def open_data(args: argparse.Namespace) -> "Source":
    """The data of a command."""
    from data_pipelines.opening import open_source  # a mistyped flag need not wait for it

    return open_source(args.data, limits=limits(args))


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a job of several processes."""
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="process 0 of several")
    parser.add_argument("--num-processes", type=int, metavar="N", help="how many there are")
    parser.add_argument("--process-id", type=int, metavar="I", help="which one this is, from 0")


def add_job_arguments(
    parser: argparse.ArgumentParser, *, at_once: tuple[str, int], part: tuple[str, str, int]
) -> None:
    """Adds the flags that the jobs over a whole data set have behind their own.

    Args:
        parser: of a command.
        at_once: what each process gives the model at once, and how many.
        part: the flag that says how large a part is, of what, and how many.
    """
    what, count = at_once
    add_count_argument(parser, "--batch-size", default=count, what=f"{what} by each process")
    flag, what, count = part
    add_count_argument(parser, flag, default=count, what=what)
    add_decoding_arguments(parser)
    add_loading_arguments(parser)
    add_process_arguments(parser)


def start_processes(args: argparse.Namespace) -> None:
    """Joins the other processes of the job, where there are any."""
    from vlp.parallel.startup import start

    start(
        coordinator=args.coordinator,
        num_processes=args.num_processes,
        process_id=args.process_id,
    )


def check_sizes(args: argparse.Namespace, *names: str) -> None:
    """Raises ValueError when a count among the flags is below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} must be at least 1, got {value}")


def add_model_argument(parser: Any, *, required: bool = True) -> None:
    """Adds the flag that names a model, to a parser or a group of one."""
    parser.add_argument(
        "--model",
        "--workdir",
        dest="model",
        required=required,
        metavar="MODEL",
        help="a run, one of its checkpoints, weights of another stack as [FORMAT:]PATH, here or in "
        "gs:// or s3://, or hf:owner/name",
    )


def add_loading_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what all commands that read weights have."""
    parser.add_argument(
        "--weights",
        metavar="auto|params|ema",
        help="the average of the weights (ema) or themselves (params); auto: the average where one "
        "was kept (default). For a checkpoint of another stack also what it calls them",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="take images of this size: positions of patches are resized",
    )
    parser.add_argument(
        "--text-length",
        type=int,
        metavar="TOKENS",
        help="take texts of this length: their positions are cut off or stretched",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="PATH",
        help='its file or folder, where the weights bring none; "none" to do without',
    )
    parser.add_argument(
        "--allow-pickle-weights",
        action="store_true",
        help="read .bin, .pt and .pth too, by torch.load(weights_only=True); needs torch",
    )
    parser.add_argument(
        "--arch",
        metavar="NAME",
        help="open_clip's name of the model, such as ViT-B-32, or a .json file with its model_cfg, "
        "for weights without an open_clip_config.json",
    )


def loading(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `load_run` that were given."""
    names = ("weights", "image_size", "text_length", "tokenizer", "allow_pickle_weights", "arch")
    given = {name: getattr(args, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}
