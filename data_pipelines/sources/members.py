"""What a file is to its sample, by the ending of its name; and why one belongs to none."""

IMAGE, TEXT, LINES, META, CLASS = "image", "text", "lines", "json", "cls"
AUDIO = "audio"
ROLES = {
    **dict.fromkeys(("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "avif"), IMAGE),
    **dict.fromkeys(("gif", "bmp", "tif", "tiff", "jp2", "j2k"), IMAGE),
    **dict.fromkeys(("txt", "text", "caption"), TEXT),
    "captions": LINES,
    "json": META,
    "cls": CLASS,
    **dict.fromkeys(("ogg", "oga", "opus", "wav", "flac", "mp3"), AUDIO),
}
ENCODED = (IMAGE, AUDIO)  # the others are text
# Why a sample is rejected that lacks such a member, or has too large a one.
MISSING = {
    IMAGE: "image missing",
    TEXT: "caption missing",
    LINES: "caption missing",
    AUDIO: "audio missing",
}
TOO_LARGE = {
    IMAGE: "image too large",
    TEXT: "caption too long",
    LINES: "caption too long",
    AUDIO: "audio too large",
}
UNUSABLE = "metadata invalid"  # of the others
# Pictures that other programs show and Pillow alone does not decode, and what is packed.
_CONVERT = ("heic", "heif", "svg", "psd", "pdf", "ico", "jxl", "cr2", "nef", "dng", "arw", "raw")
_UNPACK = ("gz", "bz2", "xz", "zst", "zip", "tgz", "7z", "rar")
_LONGEST = 12


def role_of(extension: str) -> str | None:
    """The role that an extension (without its dot) gives, in either case; None if it gives none."""
    return ROLES.get(extension.lower())


def is_read_now(reason: str) -> bool:
    """Whether a reason that an earlier version gave (see `stray_reason`) is one no more."""
    extension = reason.removesuffix(" is not read").removeprefix(".")
    return extension in ROLES and reason == _not_read(extension)


def _not_read(extension: str) -> str:
    return f".{extension} is not read"


def stray_reason(base: str) -> str:
    """Why a file of this name, its folder left out, belongs to no sample, with the remedy."""
    stem, _, extension = base.partition(".")
    last = extension.rpartition(".")[2].lower()
    if not stem:
        return "hidden file"
    if not last:
        return "no extension"
    if "." in extension and last in ROLES:
        return "no dots in KEY: its extension begins at the first dot; rename it"
    if last in _CONVERT:
        return f".{last} is not read; convert it to JPEG or PNG"
    if last in _UNPACK:
        return f".{last} is not read; unpack it"
    return _not_read(last) if len(last) <= _LONGEST else "extension not known"
