"""Captions of a picture: from its name, from a text file beside it, or from the spec; prefixed, filtered, each kept apart."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from kubetuner.errors import SpecError
from kubetuner.ingest.core import sources
from kubetuner.ingest.core.sources import Source

_REGEX_SIGNS: Final = frozenset("\\^$*+?[](){}|")
_UNESCAPED_SLASH: Final = re.compile(r"(?<!\\)/")
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

Filter = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """A picture's captions, or why it has none."""

    texts: tuple[str, ...] = ()
    reason: str = ""
    """Code of the manifest; empty where there are captions."""
    detail: str = ""


def stem(key: str) -> str:
    """A key without the ending of its file's name."""
    folder, slash, name = key.rpartition("/")
    return folder + slash + name.rpartition(".")[0]


def find(source: Source, key: str, filters: Sequence[Filter]) -> Captions:
    """Captions of one picture of a source."""
    dataset = source.dataset
    prompts = tuple(dataset.instance_prompts)
    if dataset.caption_strategy == "instanceprompt":
        return finish(prompts, (), filters)
    found = _from_file(source, key) if dataset.caption_strategy == "textfile" else from_name(key)
    return found if found.reason else finish(found.texts, prompts if dataset.prepend_instance_prompt else (), filters)


def from_name(key: str) -> Captions:
    """The file's name without its ending, `_` as spaces."""
    name = stem(key).rpartition("/")[2]
    try:
        name.encode()
    except UnicodeEncodeError:
        return Captions(reason="caption_unreadable", detail="the file's name is not UTF-8; rename it, or use captionStrategy textfile")
    return Captions(texts=(name.replace("_", " "),))


def from_text(content: bytes, *, name: str, split: bool) -> Captions:
    """Captions in a text file: one a line that is not empty, or with `split` off the whole as one."""
    if len(content) > sources.MAX_CAPTION_BYTES:  # it has grown since it was listed
        return _too_long(name, len(content))
    mark, encoding = next(((mark, encoding) for mark, encoding in _MARKS if content.startswith(mark)), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        return Captions(reason="caption_unreadable", detail=f"{name} is not UTF-8 (byte {error.start + len(mark)}); save it as UTF-8")
    return Captions(texts=tuple(text.splitlines()) if split else (text,))


def finish(texts: Sequence[str], prompts: Sequence[str], filters: Sequence[Filter]) -> Captions:
    """Put each of `prompts` before each text, filter, and leave out what is empty then."""
    kept = [text for text in (text.strip() for text in texts) if text]
    whole = [f"{prompt} {text}" for prompt in prompts for text in kept] if prompts else kept
    for change in filters:
        whole = [change(text).strip() for text in whole]
    whole = [text for text in whole if text]
    if whole:
        return Captions(texts=tuple(whole))
    if kept:
        return Captions(reason="caption_missing", detail="captionFilters leave nothing of its caption")
    return Captions(reason="caption_missing", detail="its caption is empty")


def compile_filters(rules: Sequence[str], path: str) -> list[Filter]:
    """The filters of a dataset; `path` is the field's place in the spec. Raises SpecError where one is no valid expression."""
    return [_compile(rule, f"{path}[{position}]") for position, rule in enumerate(rules)]


def _from_file(source: Source, key: str) -> Captions:
    text_key = stem(key) + sources.CAPTION_ENDING
    name = "its .txt file"
    if (size := source.oversized.get(text_key)) is not None:
        return _too_long(name, size)
    content = sources.read(source, text_key)
    if isinstance(content, bytes):
        return from_text(content, name=name, split=not source.dataset.disable_multiline_split)
    if source.store.head(text_key) is None:
        detail = "there is no .txt file of its name; write one, or choose another captionStrategy"
        return Captions(reason="caption_missing", detail=detail)
    return Captions(reason="caption_unreadable", detail=f"{name} cannot be read ({content}); give the right to read it")


def _too_long(name: str, size: int) -> Captions:
    detail = f"{name} is {size} bytes long, at most {sources.MAX_CAPTION_BYTES} are read; keep the caption in it alone"
    return Captions(reason="caption_unreadable", detail=detail)


def _compile(rule: str, path: str) -> Filter:
    pattern, replacement = rule, ""
    if rule.startswith("s/"):
        parts = _UNESCAPED_SLASH.split(rule)
        if len(parts) != 4 or parts[3] or not parts[1]:
            raise SpecError(path, f"{rule!r} is not of the form s/pattern/replacement/; write a slash that is meant as such as \\/")
        pattern, replacement = (part.replace("\\/", "/") for part in parts[1:3])
    elif not _REGEX_SIGNS.intersection(rule):
        return lambda text: text.replace(rule, "")
    try:
        expression = re.compile(pattern)
        re.sub(expression, replacement, "")  # an unknown group of the replacement shows only where it is used
        re.compile(f"(?:{pattern})|").sub(replacement, "")
    except (re.error, IndexError) as error:
        raise SpecError(path, f"{rule!r} is no valid regular expression ({error})") from error
    return lambda text: expression.sub(replacement, text)
