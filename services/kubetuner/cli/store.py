"""`kubetuner store`: what lies in a store, what it belongs to, and what nothing needs any more."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from kubetuner.artifacts import file_survey, garbage, inventory, objects
from kubetuner.artifacts.dataset import KINDS, books, digests_below
from kubetuner.artifacts.inventory import NOUNS, Folder, Inventory, Node
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.errors import InputError
from kubetuner.storage import ObjectStore, open_store

_SHOWN: Final = 16
"""Digits of a fingerprint in a table; any beginning that is one artifact's alone names it."""
_MANY: Final = frozenset({"latents", "texts", "facts", "images", "losses"})
"""Nouns that a store holds by the thousand: one line for all, unless they are asked for."""


def run(options: Namespace) -> int:
    """One of ls, show, rm, gc; returns the exit code."""
    store = open_store(options.store, create=False)
    verbs: dict[str, Callable[[ObjectStore, Namespace], int]] = {"ls": _ls, "show": _show, "rm": _rm, "gc": _gc}
    return verbs[options.store_verb](store, options)


def _ls(store: ObjectStore, options: Namespace) -> int:
    found = inventory.survey(store)
    nodes = sorted(found.nodes.values(), key=lambda node: (NOUNS.index(node.ref.noun), -node.modified, node.ref.fingerprint))
    if options.noun:
        nodes = [node for node in nodes if node.ref.noun == options.noun]
        if options.noun not in NOUNS:
            return _folders(found, options)
    if options.json:
        rows = {"artifacts": [_row(node) for node in nodes], "folders": [_folder_row(one) for one in found.folders if not options.noun]}
        print(json.dumps(rows | {"others": [info.key for info in found.others]}, ensure_ascii=False))
        return 0
    lines = [["artifact", "size", "written", "state", "belongs to"]]
    many: dict[str, list[Node]] = {}
    for node in nodes:
        if node.ref.noun in _MANY and not options.noun:
            many.setdefault(node.pool or node.ref.noun, []).append(node)
        else:
            lines.append([_short(node.ref), _size(node.size), _age(node.modified), _state(node), ", ".join(map(_short, _owners(node)))])
    for name, group in many.items():
        states = f"{len(group)} {'shard' if group[0].pool else 'artifact'}{'s' if group[1:] else ''}"
        lines.append([name, _size(sum(node.size for node in group)), _age(max(node.modified for node in group)), states, ""])
    if not options.noun:
        lines += [_line(one) for one in _grouped(found.folders)]
    _table(lines if len(lines) > 1 else [["nothing here"]])
    if found.others and not options.noun:
        print(f"{len(found.others)} objects are not of KubeTuner, as {found.others[0].key}")
    return 0


def _folders(found: Inventory, options: Namespace) -> int:
    """What lies under one word that is no artifact's noun, each name in a line."""
    folders = [one for one in found.folders if one.name.split("/")[0] == options.noun]
    if options.json:
        print(json.dumps({"artifacts": [], "folders": [_folder_row(one) for one in folders], "others": []}, ensure_ascii=False))
        return 0
    _table([["name", "size", "written", "holds", ""], *map(_line, folders)] if folders else [["nothing here"]])
    return 0


def _grouped(folders: Sequence[Folder]) -> Iterable[Folder]:
    """Each dataset and model by itself; jobs, memos and upload books all together."""
    for noun in inventory.PLAIN:
        ours = [one for one in folders if one.name.split("/")[0] == noun]
        if noun in KINDS or not ours:
            yield from ours
            continue
        keys = tuple(key for one in ours for key in one.keys)
        yield Folder(name=noun, keys=keys, size=sum(one.size for one in ours), modified=max(one.modified for one in ours))


def _line(folder: Folder) -> list[str]:
    return [folder.name, _size(folder.size), _age(folder.modified), f"{len(folder.keys)} files", ""]


def _folder_row(folder: Folder) -> dict[str, Any]:
    return {"name": folder.name, "bytes": folder.size, "written": folder.modified, "files": len(folder.keys)}


def _folder(found: Inventory, text: str) -> Folder | None:
    return next((one for one in found.folders if one.name == text.strip("/")), None)


def _show_folder(store: ObjectStore, folder: Folder, options: Namespace) -> int:
    """Files of a dataset or model with the content that is known, or the objects of a job."""
    known = digests_below(store, folder.name)
    paths = [key.removeprefix(f"{folder.name}/") for key in folder.keys]
    rows = [{"path": path, "sha256": known[path].sha256 if path in known else None} for path in paths]
    if options.json:
        print(json.dumps(_folder_row(folder) | {"objects": rows}, ensure_ascii=False))
        return 0
    _table([["name", folder.name], ["size", _size(folder.size)], ["written", _age(folder.modified)]])
    _table([[str(row["path"]), str(row["sha256"] or "")] for row in rows])
    return 0


def _show(store: ObjectStore, options: Namespace) -> int:
    found = file_survey.survey(store)
    if (folder := _folder(found, options.ref)) is not None:
        return _show_folder(store, folder, options)
    node = _find(found, options.ref)
    index = objects.find(store, node.ref) if node.complete else None
    row = _row(node) | {"referredToBy": [_name(ref) for ref in found.referring(node.ref)], "keys": list(node.keys), "index": index}
    if options.json:
        print(json.dumps(row, ensure_ascii=False))
        return 0
    _table(
        [
            ["artifact", _name(node.ref)],
            ["state", _state(node)],
            ["size", _size(node.size)],
            ["written", _age(node.modified)],
            *_list("refers to", row["refersTo"]),
            *_list("referred to by", row["referredToBy"]),
            *_list("objects", row["keys"]),
        ]
    )
    if index is not None:
        print(json.dumps(index, indent=2, ensure_ascii=False))
    return 0


def _rm(store: ObjectStore, options: Namespace) -> int:
    found = inventory.survey(store)
    folders = [folder for text in options.refs if (folder := _folder(found, text)) is not None]
    names = {folder.name for folder in folders}
    going = {node.ref: node for text in options.refs if text.strip("/") not in names for node in _with_states(found, text)}
    for name in sorted((names | set(map(_name, going))) & _in_use(found)):
        if not options.force:
            raise InputError(f"{name}: jobs of this store name it, which may be on their way; give --force where they are not")
    for ref in going:
        needing = [other for other in found.referring(ref) if other not in going]
        if needing and not options.force:
            raise InputError(
                f"{_name(ref)}: {_name(needing[0])}{f' and {len(needing) - 1} others' if needing[1:] else ''} needs it; "
                "remove that first, or give --force"
            )
    # Those that name others go before these: whatever is left, when this is stopped, names nothing that is gone.
    order = sorted(going.values(), key=lambda node: (NOUNS.index(node.ref.noun), bool(node.training)))
    keys = [key for node in order for key in node.keys]
    keys += [key for folder in folders for key in (*(book.key for book in books(store, folder.name)), *folder.keys)]
    return _delete(store, order, keys, options, dry=False)


def _in_use(found: Inventory) -> set[str]:
    """Datasets and models that jobs name, or something below them."""
    folders = {folder.name for folder in found.folders if folder.name.split("/")[0] in KINDS}
    return {name for name in folders if any(f"{address}/".startswith(f"{name}/") for address in found.named)} | set(found.named)


def _gc(store: ObjectStore, options: Namespace) -> int:
    if not 0 <= options.min_age_hours < 1e6:
        raise InputError(f"--min-age-hours: {options.min_age_hours:g} is no age; give hours from 0 on")
    terms = garbage.Terms(now=time.time(), young_seconds=options.min_age_hours * 3600, caches=options.caches)
    found = garbage.decide(file_survey.survey(store), terms)
    return _delete(store, found.nodes, list(found.keys()), options, dry=options.dry_run)


def _delete(store: ObjectStore, nodes: Sequence[Node], keys: Sequence[str], options: Namespace, *, dry: bool) -> int:
    if not dry:
        for key in keys:
            store.delete(key)
    size = sum(node.size for node in nodes)
    if options.json:
        print(json.dumps({"artifacts": [_row(node) for node in nodes], "objects": len(keys), "bytes": size, "removed": not dry}))
        return 0
    for node in nodes:
        print(f"{_name(node.ref)}  {_size(node.size)}  {_state(node)}")
    print(f"{len(nodes)} artifacts, {len(keys)} objects, {_size(size)} {'would be removed' if dry else 'removed'}")
    return 0


def _find(found: Inventory, text: str) -> Node:
    """The artifact that `noun/beginning of its fingerprint` names."""
    noun, _, beginning = text.strip("/").partition("/")
    if noun not in NOUNS or not beginning:
        raise InputError(f"{text!r} names no artifact; give noun/fingerprint, as `kubetuner store ls` shows them")
    exact = found.nodes.get(ArtifactRef(noun=noun, fingerprint=beginning))
    start, _, end = beginning.partition("…")  # as a table shortens a state's
    matches = [
        node
        for ref, node in found.nodes.items()
        if ref.noun == noun and ref.fingerprint.startswith(start) and ref.fingerprint.endswith(end)
    ]
    trainings = [node for node in matches if not node.training]
    if exact is None and len(matches) > 1 and len(trainings) == 1:  # a training, with its states beside it
        exact = trainings[0]
    if exact is None and len(matches) != 1:
        raise InputError(
            f"{text}: {f'{len(matches)} artifacts begin so' if matches else 'there is no such artifact'}; see `kubetuner store ls {noun}`"
        )
    return exact or matches[0]


def _with_states(found: Inventory, text: str) -> Iterable[Node]:
    """What goes with an artifact: with a finished training its states, which are nobody else's."""
    node = _find(found, text)
    own = [other for other in found.nodes.values() if node.ref.noun == "checkpoint" and other.training == node.ref.fingerprint]
    return [node, *own]


def _owners(node: Node) -> list[ArtifactRef]:
    """What an artifact is about: the stage before it, or the training that a state is of."""
    if node.training:
        return [ArtifactRef(noun="checkpoint", fingerprint=node.training)]
    if node.ref.noun in ("report", "checkpoint", "cache"):
        return [ref for ref in sorted(node.refers, key=_name) if NOUNS.index(ref.noun) == NOUNS.index(node.ref.noun) + 1]
    return []


def _row(node: Node) -> dict[str, Any]:
    return {
        "noun": node.ref.noun,
        "fingerprint": node.ref.fingerprint,
        "bytes": node.size,
        "written": node.modified,
        "state": _state(node),
        "refersTo": sorted(map(_name, node.refers)),
    }


def _state(node: Node) -> str:
    if node.problem:
        return "damaged"
    return "complete" if node.complete else "incomplete"


def _name(ref: ArtifactRef) -> str:
    return f"{ref.noun}/{ref.fingerprint}"


def _short(ref: ArtifactRef) -> str:
    start, dash, rest = ref.fingerprint.partition("-")
    return f"{ref.noun}/{start[:_SHOWN]}{'…-' if len(start) > _SHOWN and dash else dash}{rest}"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _age(modified: float) -> str:
    if modified == 0:
        return "unknown"
    seconds = max(0.0, time.time() - modified)
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} d ago"


def _list(title: str, values: Sequence[str]) -> list[list[str]]:
    return [[title if number == 0 else "", value] for number, value in enumerate(values or ["nothing"])]


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
