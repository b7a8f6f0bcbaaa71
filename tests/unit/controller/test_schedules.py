"""A thousand random schedules against decide and act: crashes between any two calls, conflicts, answers that get lost, events that come
late, twice or never, Jobs that fail, are preempted, queued or deleted, and users who change their minds.

Whatever happens: one Job for each attempt, no two at work at once, an end that stays, and once the faults stop the run gets where it
should.
(One that a user deletes before the status tells of it never was, for all that anybody can know, and may be made again.)
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import re

import pytest

from kubetuner.controller.act import NotLeading
from kubetuner.controller.api import JOB, POD, RUN, ApiError, Json, Kind
from kubetuner.controller.status import FINISHED, LARGEST
from tests.unit.controller.world import World, told

SCHEDULES = 1000
SHARES = 20
STEPS = 70


class Crash(Exception):
    """The process dies here."""


class Chaos:
    """One schedule."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World()
        self.heard = self.world.cluster.version
        self.calm = False
        self.phases: list[str] = []
        self.untold: set[str] = set()
        self.ended = ""
        self.made_at_end = 0
        self.world.cluster.fault = self.fault

    def fault(self, verb: str, kind: Kind) -> ApiError | None:
        """What may happen to a call."""
        if self.calm:
            return None
        drawn = self.random.random()
        if drawn < 0.04:
            raise Crash
        if drawn < 0.08:
            raise ApiError(0, "Unreachable", "no answer")
        if drawn < 0.12 and verb in ("create", "patch", "delete"):
            return ApiError(0, "Lost", "the answer got lost on its way")
        if drawn < 0.15 and verb == "patch":
            raise ApiError(409, "Conflict", "somebody was faster")
        if drawn < 0.16:
            raise ApiError(429, "TooManyRequests", "slower", {"retryAfterSeconds": 1})
        return None

    async def run(self) -> None:
        """Play the schedule, then let it get calm and see where it gets."""
        retries = self.random.choice((0, 1, 3))
        self.calm = True
        await self.world.submit(compute={"retries": retries, "train": {"resources": {"gpus": 1}}})
        self.calm = False
        for _ in range(STEPS):
            await self.step()
            self.check()
        await self.settle()

    async def step(self) -> None:
        """One thing happens."""
        move = self.random.choices(
            (self.reconcile, self.hear, self.relist, self.crash, self.cluster_moves, self.user_moves, self.time_passes),
            weights=(30, 20, 3, 2, 30, 4, 8),
        )[0]
        found = move()
        if found is not None:
            await found

    async def reconcile(self) -> None:
        """A worker takes the key."""
        try:
            await self.world.loop.reconcile("team", "dog")
        except Crash:
            self.crash()
        except (ApiError, NotLeading):
            pass

    def hear(self) -> None:
        """Some events come: in order, but some are lost and some come twice."""
        cluster = self.world.cluster
        waiting = [one for one in cluster.history if one[0] > self.heard]
        for version, name, change, found in waiting[: self.random.randint(1, 4)]:
            self.heard = version
            if self.random.random() < 0.05:
                continue
            for _ in range(2 if self.random.random() < 0.1 else 1):
                cache = {"TrainingRun": self.world.runs, "Job": self.world.jobs, "Pod": self.world.pods}.get(name)
                if cache is None:
                    continue
                if change == "DELETED":
                    cache.remove(copy.deepcopy(found))
                else:
                    cache.learn(copy.deepcopy(found), scope="")
                cache.reach("", str(version))

    def relist(self) -> None:
        """A watch was too old, or broke: everything is listed anew."""
        self.world.list()
        self.heard = self.world.cluster.version

    def crash(self) -> None:
        """Another process begins with nothing but what the server has."""
        self.world.begin()
        self.heard = self.world.cluster.version

    def time_passes(self) -> None:
        self.world.wait(self.random.choice((1, 5, 30, 400)))

    def user_moves(self) -> None:
        spec = self.world.cluster.must(RUN, "team", "dog")["spec"]
        drawn = self.random.random()
        if drawn < 0.05:
            self.world.cluster.change(RUN, "team", "dog", spec={"cancel": True})
        elif drawn < 0.85:
            self.world.cluster.change(RUN, "team", "dog", spec={"suspend": not spec.get("suspend", False)})
        elif jobs := self.world.cluster.of(JOB):
            job = self.random.choice(jobs)["metadata"]
            if self.world.row(job["labels"]["kubetuner.dev/stage"]).get("jobUid") != job["uid"]:
                self.untold.add(job["name"])
            self.world.cluster.remove(JOB, "team", job["name"])

    def cluster_moves(self) -> None:
        """The Job controller, the queue and the kubelets do something with one of the Jobs."""
        live = [job for job in self.world.cluster.of(JOB) if not _ended(job)]
        if not live:
            self.world.cluster.collect()
            return
        job = self.random.choice(live)
        name = job["metadata"]["name"]
        if "deletionTimestamp" in job["metadata"]:
            self.world.cluster.collect()
        elif job["spec"].get("suspend"):
            self.world.cluster.change(JOB, "team", name, spec={"suspend": False})
        elif self._worked(job):
            self.world.cluster.end_job(job, "Complete")
        elif not (pods := self._pods(job)):
            if self.random.random() < 0.1:
                self.world.cluster.change(JOB, "team", name, spec={"suspend": True})
            else:
                self.world.cluster.start_pod(job)
        else:
            self.end(job, pods[-1])

    def end(self, job: Json, pod: Json, *, well: bool = False) -> None:
        """The pod of a Job ends in one way or another, and the Job with it."""
        stage, cluster = job["metadata"]["labels"]["kubetuner.dev/stage"], self.world.cluster
        drawn = 0.0 if well else self.random.random()
        if drawn < 0.7:
            self._keep(job, told(stage))
            message = told(stage) if self.random.random() < 0.9 else None  # the store knows it even where the kubelet lost it
            cluster.end_pod(pod, 0, message)
            if self.random.random() < 0.5:  # else the Job controller says so later
                cluster.end_job(job, "Complete")
        elif drawn < 0.8:
            cluster.end_pod(pod, 137, reason="OOMKilled")
            cluster.end_job(job, "Failed", "BackoffLimitExceeded")
        elif drawn < 0.9:
            cluster.end_pod(pod, 143, told(stage, "INTERRUPTED"), disrupted=self.random.choice(("", "PreemptionByScheduler")))
            cluster.end_job(job, "Failed", "BackoffLimitExceeded")
        elif drawn < 0.97:
            cluster.remove(POD, "team", pod["metadata"]["name"])  # the Job controller makes another
        else:
            message = told(stage, "FAILED", reason="INPUT_INVALID", message="wrong", retryable=False)
            self._keep(job, message)
            cluster.end_pod(pod, 2, message)
            cluster.end_job(job, "Failed", "PodFailurePolicy")

    def check(self) -> None:
        """What must hold at every moment."""
        cluster = self.world.cluster
        for name, count in cluster.created.items():
            assert count == 1 or name.removeprefix("Job/") in self.untold, f"{name} was made {count} times"
        live = [job["metadata"]["name"] for job in cluster.of(JOB) if not _ended(job) and not self._worked(job)]
        assert len(live) <= 1, f"at work at once: {live}"
        for stage in ("ingest", "embed", "train", "evaluate"):
            made = sorted(int(match[1]) for name in cluster.created if (match := re.fullmatch(rf"Job/dog-{stage}-(\d+)", name)))
            assert made == list(range(1, len(made) + 1)), f"{stage}: attempts {made}"
        status = self.world.status
        assert len(json.dumps(status).encode()) <= LARGEST
        if self.ended:
            assert (status["phase"], sum(cluster.created.values())) == (self.ended, self.made_at_end)
        elif status.get("phase") in FINISHED:
            self.ended, self.made_at_end = status["phase"], sum(cluster.created.values())

    async def settle(self) -> None:
        """No more faults, and nobody interferes: the run gets to its end, and then nothing moves."""
        self.calm = True
        cluster = self.world.cluster
        cluster.change(RUN, "team", "dog", spec={"suspend": False})
        for _ in range(120):
            self.relist()
            await self.world.loop.reconcile("team", "dog")
            self.check()
            cluster.collect()
            for job in [job for job in cluster.of(JOB) if not _ended(job)]:
                if job["spec"].get("suspend"):
                    cluster.change(JOB, "team", job["metadata"]["name"], spec={"suspend": False})
                elif self._worked(job):
                    cluster.end_job(job, "Complete")
                else:
                    pods = self._pods(job)
                    self.end(job, pods[-1] if pods else cluster.start_pod(job), well=True)
            self.world.wait(400)
            if self.ended and not [job for job in cluster.of(JOB) if not _ended(job)]:
                break
        spec = cluster.must(RUN, "team", "dog")["spec"]
        assert self.ended in ({"Cancelled", "Failed", "Succeeded"} if spec.get("cancel") else {"Succeeded", "Failed"}), self.world.status
        if self.ended == "Succeeded":
            assert set(self.world.status["artifacts"]) >= {"manifest", "cache", "checkpoint", "report"}
        self.relist()
        cluster.calls.clear()
        assert await self.world.loop.reconcile("team", "dog") is None
        assert cluster.calls == {}

    def _pods(self, job: Json, phase: str = "Running") -> list[Json]:
        owned = [pod for pod in self.world.cluster.of(POD) if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]]
        return [pod for pod in owned if pod["status"]["phase"] == phase]

    def _worked(self, job: Json) -> bool:
        """Whether the Job's pod did its work, so that only the Job controller's word is missing."""
        return bool(self._pods(job, "Succeeded"))

    def _keep(self, job: Json, message: Json) -> None:
        labels, uid = job["metadata"]["labels"], self.world.cluster.must(RUN, "team", "dog")["metadata"]["uid"]
        name = f"{uid}-{labels['kubetuner.dev/stage']}-{labels['kubetuner.dev/attempt']}"
        self.world.store.put(
            f"jobs/{name}/job.json", json.dumps(message | {"state": f"JOB_STATE_{message['state']}"}).encode(), replace=True
        )


def _ended(job: Json) -> bool:
    return any(one["type"] in ("Complete", "Failed") for one in (job.get("status") or {}).get("conditions") or ())


@pytest.mark.parametrize("share", range(SHARES))
def test_random_schedules_make_one_job_for_each_attempt_and_lose_no_transition(share: int) -> None:
    async def play() -> None:
        for seed in range(share, SCHEDULES, SHARES):
            try:
                await Chaos(seed).run()
            except AssertionError as error:
                raise AssertionError(f"schedule {seed}: {error}") from error

    asyncio.run(play())
