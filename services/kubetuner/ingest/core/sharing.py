"""Several processes look at the pictures together: each takes parts that nobody is at, and one of them makes the manifest of all.

    jobs/<name>/parts/<part>.arrow      what was seen of a part, gone once the manifest is made
    jobs/<name>/shared.json             the manifest that the others find

`name` is that of the work that is shared, so nothing of an earlier attempt is taken for what is there now. A part is named by its
pictures: a process that lists other pictures than the rest shares what is the same, and looks at the rest itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kubetuner.artifacts.claims import Claims
from kubetuner.artifacts.objects import ArtifactRef, canonical, fingerprint
from kubetuner.context import StageContext
from kubetuner.errors import ArtifactError
from kubetuner.ingest.core import look
from kubetuner.ingest.core.seen import Seen, pack
from kubetuner.ingest.core.sources import Source
from kubetuner.storage import ObjectStore

_LARGEST: Final = 8192
_PARTS_OF_EACH: Final = 4
_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some pictures of a source, one after the other."""

    number: int
    """Of the source."""
    source: Source
    """Cut to the part."""
    name: str


def together(found: Sequence[Source], ctx: StageContext, seen: Seen, make: Callable[[], ArtifactRef]) -> ArtifactRef:
    """The manifest of all sources, once all of them are seen; `make` makes it of the rows in `seen`."""
    claims = Claims(store=ctx.store)
    parts = list(_parts(found, ctx.share.count))
    with look.looking(found, ctx) as take:
        waiting = _own_first(parts, ctx.share.index, ctx.share.count)
        while waiting and _made(ctx) is None:
            left = [part for part in waiting if not _see(part, take, claims, ctx)]
            if len(left) == len(waiting):
                time.sleep(_PAUSE_SECONDS)
            waiting = left
    while (made := _made(ctx)) is None:
        ctx.check()
        with claims.take(_claim("shared", ctx)) as mine:
            if mine and (made := _made(ctx)) is None:
                for part in parts:
                    seen.add(ctx.store.get(_key(part, ctx)))
                return _finish(make(), parts, ctx)
        time.sleep(_PAUSE_SECONDS)
    return made


def _parts(found: Sequence[Source], count: int) -> Iterator[Part]:
    """All pictures in parts; the same in every process that lists the same pictures."""
    total = sum(len(source.paths) for source in found)
    size = max(1, min(_LARGEST, total // (_PARTS_OF_EACH * count)))
    for number, source in enumerate(found):
        for start in range(0, len(source.paths), size):
            paths = source.paths.slice(start, size)
            yield Part(number=number, source=replace(source, paths=paths), name=fingerprint(number, paths.to_pylist()))


def _own_first(parts: Sequence[Part], index: int, count: int) -> list[Part]:
    """Every process begins at another part, so that they seldom meet."""
    order = sorted(range(len(parts)), key=lambda position: ((position - index) % count, position))
    return [parts[position] for position in order]


def _see(part: Part, take: look.Take, claims: Claims, ctx: StageContext) -> bool:
    """Whether a part is seen now, by us or by somebody else."""
    ctx.check()
    key = _key(part, ctx)
    if ctx.store.head(key) is None:
        with claims.take(_claim(part.name, ctx)) as mine:
            if not mine:
                return False
            if ctx.store.head(key) is None:
                ctx.store.put(key, pack(take(part.number, part.source)))
                return True
    ctx.progress.advance(len(part.source.paths))
    return True


def _finish(ref: ArtifactRef, parts: Sequence[Part], ctx: StageContext) -> ArtifactRef:
    """Tell the others, then take the parts away."""
    ctx.store.put(f"{_prefix(ctx)}shared.json", canonical({"noun": ref.noun, "fingerprint": ref.fingerprint}))
    for part in parts:
        ctx.store.delete(_key(part, ctx))
    return ref


def _made(ctx: StageContext) -> ArtifactRef | None:
    """The manifest, where one of the processes has made it and it is still there."""
    found = _read(ctx.store, f"{_prefix(ctx)}shared.json")
    if found is None:
        return None
    ref = ArtifactRef(noun=str(found["noun"]), fingerprint=str(found["fingerprint"]))
    return ref if ctx.store.head(ref.key("index.json")) is not None else None


def _read(store: ObjectStore, key: str) -> dict[str, object] | None:
    try:
        found: dict[str, object] = json.loads(store.get(key))
    except ArtifactError:
        return None
    return found


def _prefix(ctx: StageContext) -> str:
    return f"jobs/{ctx.share.name}/"


def _claim(what: str, ctx: StageContext) -> str:
    return f"parts/{ctx.share.name}/{what}"


def _key(part: Part, ctx: StageContext) -> str:
    return f"{_prefix(ctx)}parts/{part.name}.arrow"
