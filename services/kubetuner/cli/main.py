"""kubetuner: fine-tune Stable Diffusion XL.

    kubetuner run FILE          all four stages in one process
    kubetuner export FILE       the files of another kept step
    kubetuner inspect FILE      what the data would give, before a GPU is taken
    kubetuner validate FILE     check a run's fields
    kubetuner import CONFIG     turn a SimpleTuner set-up into a run
    kubetuner store VERB        what lies in a store, and what nothing needs any more

On a cluster, over gRPC:

    kubetuner push DIR NAME     a folder of pictures or a model into the store, as datasets/NAME or models/NAME
    kubetuner apply -f FILE     create a run
    kubetuner watch NAME        what happens to a run, until it ends
    kubetuner outputs NAME      the files that a run has given

Exit codes: 0 done, 1 failed, 2 the input is wrong, 130 or 143 interrupted with the state saved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kubetuner import __version__
from kubetuner.errors import InputError, Interrupted, KubeTunerError

DONE, FAILED, WRONG_INPUT = 0, 1, 2
NOUNS = ("outputs", "report", "checkpoint", "cache", "manifest", "latents", "texts", "facts", "images", "losses", "model")
FOLDERS = ("datasets", "models", "jobs", "results", "uploads")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Verbs import what they need, so that --help and validate load no torch."""
    options = parser().parse_args(arguments)
    from kubetuner.cli import signals, verbs

    watch = signals.Watch()
    try:
        verb = getattr(verbs, f"{options.verb}_")
        with watch:
            code: int = verb(options, watch.stopped)
            return code
    except InputError as error:
        return _fail(str(error), WRONG_INPUT)
    except Interrupted as error:
        return _fail(str(error), watch.exit_code)
    except KubeTunerError as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:  # the second Ctrl-C
        return _fail("stopped at once; what was saved before stays saved", 130)
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
        sys.stderr.close()
        return FAILED
    except OSError as error:  # a refusal of the system where nobody knows a better cure
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}; free the place, or give the right to it", FAILED)


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    whole = argparse.ArgumentParser(
        prog="kubetuner",
        description="Fine-tune Stable Diffusion XL: datasets in, a LoRA or a full model with its report out.",
        epilog="exit codes: 0 done, 1 failed, 2 the input is wrong, 130 or 143 interrupted with the state saved",
    )
    whole.add_argument("--version", action="version", version=f"kubetuner {__version__}")
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = _verb(verbs, "run", "all four stages in one process; run again after anything, it goes on where it stopped")
    _file(run)
    _place(run)
    run.add_argument("--out", metavar="DIR", help="folder for the results (default: ./NAME of the run)")
    run.add_argument("--json", action="store_true", help="plain progress on stderr; result.json as the last line of stdout")
    export = _verb(verbs, "export", "the LoRA or model of another kept step; a run that is not finished is finished first")
    _file(export)
    _place(export)
    export.add_argument("--step", type=int, required=True, metavar="N", help="a step that the report ranks")
    export.add_argument("-o", "--out", metavar="DIR", help="folder for the files (default: ./NAME-N)")
    export.add_argument("--json", action="store_true", help="plain progress on stderr; what was written as JSON")
    inspect = _verb(verbs, "inspect", "dry run: every image counted, buckets, batches, steps, problems; needs no model and no torch")
    _file(inspect)
    inspect.add_argument("--store", metavar="URI", help="the object store that store: addresses mean; it is read, and not written to")
    inspect.add_argument("--json", action="store_true", help="the whole account as JSON")
    validate = _verb(verbs, "validate", "check a run's fields against the schema")
    _file(validate)
    validate.add_argument("--json", action="store_true", help="the resolved run, or the errors, as JSON")
    imported = _verb(verbs, "import", "turn a SimpleTuner set-up into a TrainingRun; every key is carried, or named with the reason")
    imported.add_argument("config", metavar="CONFIG", help="SimpleTuner's config.json")
    imported.add_argument("backend", metavar="BACKEND", nargs="?", help="its multidatabackend.json (default: the one that CONFIG names)")
    imported.add_argument("-o", "--output", metavar="FILE", required=True, help="the TrainingRun to write; - for stdout")
    imported.add_argument("--json", action="store_true", help="which keys were carried and which not, as JSON")
    _store(_verb(verbs, "store", "what lies in a store, what it belongs to, and what nothing needs any more"))
    _cluster(verbs)
    return whole


def _cluster(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Verbs that speak to a controller; push and outputs also go straight to an object store."""
    push = _verb(verbs, "push", "a folder of pictures or a model into the store; only what is missing is sent, and checked by its SHA-256")
    push.add_argument("folder", metavar="DIR", help="the folder; hidden files are left out")
    push.add_argument("name", metavar="NAME", help="datasets/NAME or models/NAME: what a run then names as store:datasets/NAME")
    apply = _verb(verbs, "apply", "create a run on a cluster; one that is there and the same stays as it is")
    apply.add_argument("-f", "--file", metavar="FILE", required=True, help="a TrainingRun in YAML")
    apply.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="PATH=VALUE",
        help="change a field, as train.maxSteps=10; repeatable",
    )
    apply.add_argument("--dry-run", action="store_true", help="only check, here and on the cluster")
    apply.add_argument("--watch", action="store_true", help="then watch it until it ends")
    watch = _verb(verbs, "watch", "what happens to a run, until it ends; ends with 0 where the run has succeeded, else with 1")
    watch.add_argument("name", metavar="NAME", help="name of the run")
    watch.add_argument("--from", type=int, default=0, dest="start", metavar="N", help="first event wanted (default: how it stands now)")
    outputs = _verb(verbs, "outputs", "the files that a run has given, as `run --out` writes them")
    outputs.add_argument("name", metavar="NAME", help="name of the run")
    outputs.add_argument("-o", "--out", metavar="DIR", help="folder for the files (default: ./NAME of the run)")
    for verb in (push, outputs):
        verb.add_argument(
            "--store", metavar="URI", help="straight to this object store (s3://bucket/prefix or a folder), past the controller"
        )
    for verb in (push, apply, watch, outputs):
        _controller(verb)
        verb.add_argument("--json", action="store_true", help="the same for programs")


def _controller(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("controller", "KUBETUNER_ADDRESS, _TOKEN, _TOKEN_FILE, _CA, _SERVER_NAME and _NAMESPACE say the same")
    group.add_argument("--address", metavar="HOST:PORT", help="address of the controller, as dns:///kubetuner.kubetuner:443")
    group.add_argument("--token-file", metavar="FILE", help="file with a bearer token; the token itself goes into KUBETUNER_TOKEN")
    group.add_argument("--ca", metavar="FILE", help="certificates to trust, in PEM")
    group.add_argument("--server-name", metavar="NAME", help="name in the controller's certificate, where the address has another")
    group.add_argument("-n", "--namespace", metavar="NS", help="namespace of the run or dataset (default: default)")


def _store(store: argparse.ArgumentParser) -> None:
    verbs = store.add_subparsers(dest="store_verb", required=True, metavar="VERB")
    ls = _verb(verbs, "ls", "artifacts with size, age and what they belong to")
    words = NOUNS + FOLDERS
    ls.add_argument("noun", nargs="?", choices=words, metavar="NOUN", help=f"only these, each in a line: {', '.join(words)}")
    show = _verb(verbs, "show", "an artifact: its index, its objects, what it refers to and what refers to it")
    show.add_argument("ref", metavar="REF", help="noun/fingerprint; the beginning of a fingerprint will do")
    rm = _verb(verbs, "rm", "remove artifacts; one that others refer to is refused")
    rm.add_argument("refs", nargs="+", metavar="REF", help="noun/fingerprint; a finished training goes with its states")
    rm.add_argument("--force", action="store_true", help="also where others refer to it: they are then made again when they are needed")
    gc = _verb(verbs, "gc", "remove what nothing refers to: halves that killed runs left, superseded states, shards that no cache names")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    gc.add_argument("--caches", action="store_true", help="also caches and manifests that no training refers to")
    gc.add_argument(
        "--min-age-hours",
        type=float,
        default=24.0,
        metavar="H",
        help="leave alone what is younger: its run may be on its way (default: 24)",
    )
    for verb in (ls, show, rm, gc):
        _address(verb)
        verb.add_argument("--json", action="store_true", help="the same for programs")


def _verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    return verbs.add_parser(name, help=text, description=text)


def _file(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("file", metavar="FILE", help="a TrainingRun in YAML")
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="PATH=VALUE",
        help="change a field, as train.maxSteps=10; repeatable",
    )


def _address(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--store", default=".kubetuner", metavar="URI", help="object store: a folder or s3://bucket/prefix (default: %(default)s)"
    )


def _place(verb: argparse.ArgumentParser) -> None:
    _address(verb)
    verb.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: %(default)s)")


def _fail(message: str, code: int) -> int:
    for line in message.split("\n"):
        print(f"kubetuner: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
