"""The place of a pod among those of a training, by torchrun's variables."""

import pytest

from kubetuner.rpc.settings import SettingError
from kubetuner.train.settings import Ranks, read


@pytest.mark.parametrize(
    ("environment", "gpus", "ranks"),
    [
        ({}, 1, Ranks()),
        ({}, 4, Ranks(per_node=4)),
        ({"JOB_COMPLETION_INDEX": "0", "PET_NPROC_PER_NODE": "auto"}, 2, Ranks(per_node=2)),
        (
            {"PET_NNODES": "3", "JOB_COMPLETION_INDEX": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "run-train-1-0.run-train-1"},
            8,
            Ranks(nodes=3, node=2, address="run-train-1-0.run-train-1"),
        ),
        (
            {"PET_NNODES": "2", "PET_NODE_RANK": "1", "JOB_COMPLETION_INDEX": "0", "PET_MASTER_ADDR": "a", "PET_MASTER_PORT": "1234"},
            1,
            Ranks(nodes=2, node=1, address="a", port=1234),
        ),
    ],
)
def test_the_variables_name_the_place(environment: dict[str, str], gpus: int, ranks: Ranks) -> None:
    assert read(environment, gpus=lambda: gpus) == ranks


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PET_NNODES": "2"}, "PET_MASTER_ADDR"),
        ({"PET_NNODES": "2", "PET_NODE_RANK": "2", "PET_MASTER_ADDR": "a"}, "PET_NODE_RANK"),
        ({"PET_NNODES": "0"}, "PET_NNODES"),
        ({"PET_NPROC_PER_NODE": "many"}, "PET_NPROC_PER_NODE"),
        ({"PET_NNODES": "2", "PET_MASTER_ADDR": "a", "PET_MASTER_PORT": "http"}, "PET_MASTER_PORT"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=f"^{named}: "):
        read(environment, gpus=lambda: 1)


def test_ranks_are_counted_over_all_pods() -> None:
    ranks = Ranks(nodes=2, node=1, per_node=3, address="a")
    assert [ranks.environment(local)["RANK"] for local in range(3)] == ["3", "4", "5"]
    assert ranks.environment(0)["WORLD_SIZE"] == "6"
