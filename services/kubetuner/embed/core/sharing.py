"""Which shard to encode next, when other runs on the same store may be at the same shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Final, TypeVar

from kubetuner.artifacts.claims import Claims
from kubetuner.artifacts.pool import Pool
from kubetuner.context import Share, StageContext

_PAUSE_SECONDS: Final = 0.2
_Group = TypeVar("_Group", bound=Collection[str])


def shared(
    groups: list[_Group], pool: Pool, claims: Claims, held: ExitStack, ctx: StageContext
) -> Iterator[tuple[_Group, Callable[[], None]]]:
    """The groups of keys that this process is to encode and write, one after the other; others appear in the pool meanwhile.

    With each comes what to call, from any thread, once it is written: until then, or until `held` is left, it is this process's.
    A group that a living process is at is left for later; one whose process died is taken. Interrupted is raised between groups.
    """
    waiting = own_first(groups, ctx.share)
    while waiting:
        left = []
        for group in waiting:
            ctx.check()
            shard = pool.shard_of(group)
            if pool.look_for(shard):
                ctx.progress.advance(len(group))
                continue
            claim = held.enter_context(ExitStack())
            if not claim.enter_context(claims.take(f"{shard.noun}/{shard.fingerprint}")):
                claim.close()
                left.append(group)
            elif pool.look_for(shard):  # finished between the look and the claim
                claim.close()
                ctx.progress.advance(len(group))
            else:
                yield group, claim.close
        if len(left) == len(waiting):
            time.sleep(_PAUSE_SECONDS)
        waiting = left


def own_first(groups: list[_Group], share: Share) -> list[_Group]:
    """All groups, those of this process's share first: processes that share the work seldom meet, and who is done helps the others."""
    order = sorted(range(len(groups)), key=lambda position: ((position - share.index) % share.count, position))
    return [groups[position] for position in order]
