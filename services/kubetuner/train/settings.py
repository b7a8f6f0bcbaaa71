"""Which of several processes of a training this is: torchrun's own variables, as a pod of an Indexed Job has them.

PET_NNODES            pods of the training
PET_NODE_RANK         which of them this is; JOB_COMPLETION_INDEX where it is not set
PET_NPROC_PER_NODE    processes in a pod: a number, or `auto`, `gpu` or `cpu`, which are one for each GPU, and one where there is none
PET_MASTER_ADDR       name of the first pod
PET_MASTER_PORT       its port for the others, 29500 where it is not set
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kubetuner.rpc.settings import SettingError, whole

_COUNTED: Final = frozenset({"", "auto", "gpu", "cpu"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The processes of a training, and this pod's place among them."""

    nodes: int = 1
    node: int = 0
    per_node: int = 1
    address: str = "127.0.0.1"
    port: int = 29500

    @property
    def total(self) -> int:
        """All processes."""
        return self.nodes * self.per_node

    def environment(self, local: int) -> dict[str, str]:
        """What torch.distributed reads, for a process of this pod."""
        return {
            "RANK": str(self.node * self.per_node + local),
            "LOCAL_RANK": str(local),
            "WORLD_SIZE": str(self.total),
            "LOCAL_WORLD_SIZE": str(self.per_node),
            "GROUP_RANK": str(self.node),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def read(environment: Mapping[str, str], *, gpus: Callable[[], int]) -> Ranks:
    """The place of this pod. `gpus` counts the devices where the environment leaves the number of processes open."""
    nodes = whole(environment, "PET_NNODES", 1, least=1)
    index = whole(environment, "JOB_COMPLETION_INDEX", 0)
    node = whole(environment, "PET_NODE_RANK", index if nodes != 1 else 0)
    port = whole(environment, "PET_MASTER_PORT", 29500, least=1)
    assert nodes is not None
    assert node is not None
    assert port is not None
    if node >= nodes:
        raise SettingError(f"PET_NODE_RANK: {node} given; must be below PET_NNODES, {nodes}")
    address = environment.get("PET_MASTER_ADDR", "")
    if nodes > 1 and not address:
        raise SettingError("PET_MASTER_ADDR: not set, though PET_NNODES is more than 1; give the name of the first pod")
    text = environment.get("PET_NPROC_PER_NODE", "")
    per_node = max(1, gpus()) if text in _COUNTED else whole(environment, "PET_NPROC_PER_NODE", 1, least=1)
    assert per_node is not None
    return Ranks(nodes=nodes, node=node, per_node=per_node, address=address or "127.0.0.1", port=port)
