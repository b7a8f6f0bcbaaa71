"""What only a server has: it refuses, is not there, goes away in the middle, and its answers get lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from minio import MinioAdmin
from minio.credentials import AssumeRoleProvider, StaticProvider

from kubetuner.cli.main import main
from kubetuner.errors import ArtifactError, KubeTunerError, SpecError
from kubetuner.storage.minio import MinioStore
from tests.minio.proxy import Proxy
from tests.minio.server import Server

pytestmark = pytest.mark.needs("minio")
BIG = (64 << 20) + 5
SECONDS = 120.0


@pytest.fixture
def wire(minio: Server) -> Iterator[Proxy]:
    with Proxy(minio) as proxy:
        yield proxy


def open_at(minio: Server, bucket: str | None = None, **changes: str) -> MinioStore:
    bucket = bucket or minio.bucket()
    return MinioStore.from_uri(f"s3://{bucket}/p", path="spec.here", environment=minio.environment | changes)


def through(wire: Proxy) -> MinioStore:
    return MinioStore.from_uri(f"s3://{wire.server.bucket()}/p", path="--store", environment=wire.environment)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "refuses these credentials"),
        ({"AWS_SECRET_ACCESS_KEY": "guessed"}, "refuses these credentials"),
        ({"AWS_SESSION_TOKEN": "stale"}, "refuses these credentials"),
    ],
)
@pytest.mark.parametrize("verb", ["put", "get", "head", "list", "delete"])
def test_wrong_credentials_are_said_at_the_first_call(minio: Server, verb: str, changes: dict[str, str], words: str) -> None:
    store = open_at(minio, **changes)
    calls = {
        "put": lambda: store.put("key", b""),
        "get": lambda: store.get("key"),
        "head": lambda: store.head("key"),
        "list": lambda: list(store.list()),
        "delete": lambda: store.delete("key"),
    }
    with pytest.raises(SpecError, match=rf"spec\.here: .*{words}"):
        calls[verb]()


def test_a_bucket_that_is_not_there_is_named(minio: Server) -> None:
    store = open_at(minio, "no-such-bucket")
    for call in (lambda: list(store.list()), lambda: store.put("key", b""), lambda: store.get("key"), lambda: store.put("key", bytes(BIG))):
        with pytest.raises(SpecError, match=r"spec\.here: there is no bucket 'no-such-bucket' .*create it"):
            call()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://nowhere.invalid:9000"])
def test_a_server_that_never_answered_is_given_up_soon(minio: Server, endpoint: str) -> None:
    store = open_at(minio, AWS_ENDPOINT_URL=endpoint)
    store.patience_seconds = 1.0
    with pytest.raises(KubeTunerError, match=r"does not answer .*AWS_ENDPOINT_URL"):
        store.get("key")


def test_a_key_that_is_not_utf8_is_refused_in_words(minio: Server) -> None:
    with pytest.raises(ArtifactError, match="UTF-8"):
        open_at(minio).put("caf\udce9.jpg", b"")


def test_a_session_token_is_sent_with_every_call(minio: Server, tmp_path: Path) -> None:
    root = StaticProvider(minio.access_key, minio.secret_key)
    admin = MinioAdmin(endpoint=minio.endpoint.removeprefix("http://"), credentials=root, secure=False)
    admin.user_add("someone", "a-long-secret")
    admin.policy_set("readwrite", "someone")
    role = AssumeRoleProvider(sts_endpoint=minio.endpoint, access_key="someone", secret_key="a-long-secret").retrieve()
    keys = {"AWS_ACCESS_KEY_ID": role.access_key, "AWS_SECRET_ACCESS_KEY": role.secret_key, "AWS_SESSION_TOKEN": role.session_token or ""}
    store = open_at(minio, **keys)
    assert store.put("small", b"content")
    assert not store.put("small", b"other")
    assert store.put("big", bytes(BIG))
    assert (store.get("small"), store.head("big"), len(list(store.list()))) == (b"content", BIG, 2)
    store.delete("big")


def test_credentials_may_lie_in_the_aws_files(minio: Server, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        f"[default]\naws_access_key_id = {minio.access_key}\naws_secret_access_key = {minio.secret_key}\n"
    )
    (tmp_path / ".aws" / "config").write_text(f"[default]\nendpoint_url = {minio.endpoint}\n")
    store = MinioStore.from_uri(f"s3://{minio.bucket()}", path="--store", environment={"HOME": str(tmp_path)})
    assert store.put("key", b"content")
    assert store.get("key") == b"content"


@pytest.mark.parametrize(("size", "call"), [(3, b"PUT /"), (BIG, b"?uploadId=")])
def test_a_write_whose_answer_was_lost_was_ours(wire: Proxy, size: int, call: bytes) -> None:
    """Told that the object is there already, a claim's owner would wait for itself. A large one comes by the call that ends its upload."""
    store = through(wire)
    wire.cut_answers, wire.cut_answers_to = 1, call
    assert store.put("key", bytes(size))
    assert wire.cut_answers == 0
    assert (store.head("key"), [info.key for info in store.list()]) == (size, ["key"])


def test_an_answer_that_is_cut_short_is_asked_for_again(wire: Proxy) -> None:
    store = through(wire)
    content = bytes(range(256)) * 4096
    store.put("key", content)
    wire.cut_answers, wire.cut_answers_after = 3, 60_000
    assert store.get("key") == content
    assert store.get("key", 1000, 500_000) == content[1000:501_000]


def test_connections_are_used_again_by_all_threads(wire: Proxy) -> None:
    store = through(wire)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: store.put(f"{number}", b"content"), range(100)))
        list(threads.map(lambda number: store.get(f"{number}"), range(100)))
        list(threads.map(lambda number: store.head(f"{number}"), range(100)))
    assert len(list(store.list())) == 100
    assert wire.connections <= 8


def restarted_while(minio: Server, store: MinioStore, call: Callable[[], None]) -> list[str]:
    """The server is killed before the call, and started once the call has told that it is away; all that it has told."""
    said: list[str] = []
    missed = threading.Event()

    def note(words: str) -> None:
        said.append(words)
        missed.set()

    store.note = note
    calling = threading.Thread(target=call)
    minio.kill()
    try:
        calling.start()
        assert missed.wait(SECONDS)
    finally:
        minio.start()
        calling.join()
    return said


@pytest.mark.parametrize("size", [3, BIG])
def test_a_server_that_comes_back_has_cost_time_and_nothing_else(minio: Server, size: int) -> None:
    store = open_at(minio)
    store.put("before", bytes(size))
    answers: list[object] = []

    def call() -> None:
        answers.extend([store.put("during", bytes(size)), len(store.get("before")), [info.key for info in store.list()]])

    said = restarted_while(minio, store, call)
    assert answers == [True, size, ["before", "during"]]
    assert ["does not answer" in said[0], "answers again" in said[-1]] == [True, True]


def test_waiting_for_a_server_takes_no_processor(minio: Server) -> None:
    store = open_at(minio)
    store.put("key", b"content")
    used: list[float] = []

    def call() -> None:
        before = time.thread_time()
        store.get("key")
        used.append(time.thread_time() - before)

    restarted_while(minio, store, call)
    assert used[0] < 0.3


def test_a_frozen_server_is_waited_for(minio: Server) -> None:
    store = open_at(minio)
    store.put("key", b"content")
    got: list[bytes] = []
    call = threading.Thread(target=lambda: got.append(store.get("key")))
    with minio.frozen():
        call.start()
        time.sleep(1.0)
        assert got == []
    call.join()
    assert got == [b"content"]


@pytest.mark.parametrize(
    ("bucket", "changes", "words"),
    [
        ("no-such-bucket", {}, "there is no bucket 'no-such-bucket'"),
        ("bucket", {"AWS_SECRET_ACCESS_KEY": "guessed"}, "refuses these credentials"),
        ("bucket", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1/path"}, "AWS_ENDPOINT_URL"),
        ("Bucket_", {}, "names no bucket"),
    ],
)
def test_the_command_ends_with_2_and_one_line(
    minio: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bucket: str, changes: dict[str, str], words: str
) -> None:
    for name, value in (minio.environment | changes).items():
        monkeypatch.setenv(name, value)
    assert main(["store", "ls", "--store", f"s3://{bucket}/prefix"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), words in lines[0], lines[0].startswith("kubetuner: --store: ")) == (1, True, True)
