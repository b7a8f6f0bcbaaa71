"""kubetuner: fine-tune Stable Diffusion XL.

    kubetuner run FILE          all four stages in one process
    kubetuner export FILE       the files of another kept step
    kubetuner inspect FILE      what the data would give, before a GPU is taken
    kubetuner validate FILE     check a run's fields
    kubetuner import CONFIG     turn a SimpleTuner set-up into a run

Exit codes: 0 done, 1 failed, 2 the input is wrong, 130 or 143 interrupted with the state saved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kubetuner import __version__
from kubetuner.errors import InputError, Interrupted, KubeTunerError

DONE, FAILED, WRONG_INPUT = 0, 1, 2


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
    inspect.add_argument("--json", action="store_true", help="the whole account as JSON")
    validate = _verb(verbs, "validate", "check a run's fields against the schema")
    _file(validate)
    validate.add_argument("--json", action="store_true", help="the resolved run, or the errors, as JSON")
    imported = _verb(verbs, "import", "turn a SimpleTuner set-up into a TrainingRun; every key is carried, or named with the reason")
    imported.add_argument("config", metavar="CONFIG", help="SimpleTuner's config.json")
    imported.add_argument("backend", metavar="BACKEND", nargs="?", help="its multidatabackend.json (default: the one that CONFIG names)")
    imported.add_argument("-o", "--output", metavar="FILE", required=True, help="the TrainingRun to write; - for stdout")
    imported.add_argument("--json", action="store_true", help="which keys were carried and which not, as JSON")
    return whole


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


def _place(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--store", default=".kubetuner", metavar="URI", help="object store: a folder or s3://bucket/prefix (default: %(default)s)"
    )
    verb.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: %(default)s)")


def _fail(message: str, code: int) -> int:
    for line in message.split("\n"):
        print(f"kubetuner: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
