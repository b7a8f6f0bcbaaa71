"""The command's exit codes and words; nothing here needs torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubetuner.cli.main import main
from tests.builders import photographs, run_document


def write(folder: Path, document: object) -> str:
    path = folder / "run.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return str(path)


def test_a_valid_run_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", write(tmp_path, run_document())]) == 0
    assert capsys.readouterr().out.endswith("run.yaml: valid\n")


@pytest.mark.parametrize("verb", ["validate", "inspect", "run"])
@pytest.mark.parametrize(
    ("document", "words"),
    [
        (run_document({"train.lora.rank": 0}), "spec.train.lora.rank"),
        (run_document({"train.learningRate": 1}), "did you mean"),
        (run_document({"datasets[0].cropAspect": "sqare"}), "square"),
        ("{", "line 1"),
        ("", "empty"),
    ],
)
def test_a_wrong_run_ends_with_2_and_lines_that_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, document: object, words: str
) -> None:
    assert main([verb, write(tmp_path, document)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert all(line.startswith("kubetuner: ") for line in err.splitlines())


def test_a_missing_file_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_errors_come_as_json_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--json", write(tmp_path, run_document({"train.lora.rank": 0}))]) == 2
    report = json.loads(capsys.readouterr().out)
    assert [error["path"] for error in report["errors"]] == ["spec.train.lora.rank"]


def test_set_changes_a_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--json", "--set", "train.maxSteps=7", "--set", "datasets[0].repeats=2", write(tmp_path, run_document())]) == 0
    spec = json.loads(capsys.readouterr().out)["run"]["spec"]
    assert (spec["train"]["maxSteps"], spec["datasets"][0]["repeats"]) == (7, 2)


def test_inspect_counts_every_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(tmp_path / "photographs", [(64, 64), (64, 64), (128, 64)])
    (tmp_path / "photographs" / "broken.png").write_bytes(b"no picture")
    assert main(["inspect", "--json", write(tmp_path, run_document({"train.batchSize": 1}))]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["used"] for row in report["images"]] == [True, True, True, False]
    assert report["stepsPerEpoch"] == 3


def test_inspect_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(tmp_path / "photographs", [(64, 64), (128, 64)])
    assert main(["inspect", write(tmp_path, run_document())]) == 0
    assert "64x64" in capsys.readouterr().out


def test_a_data_folder_that_is_not_there_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", write(tmp_path, run_document())]) == 2
    assert "spec.datasets[0].source.uri" in capsys.readouterr().err


def test_import_writes_a_run_and_names_what_it_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).parents[2] / "data" / "simpletuner" / "quickstart" / "config" / "config.json"
    assert main(["import", str(config), "-o", str(tmp_path / "run.yaml")]) == 0
    assert main(["validate", str(tmp_path / "run.yaml")]) == 0
    assert "not carried" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "RUN"], ["inspect", "RUN"]])
def test_no_torch_is_imported_before_it_is_needed(tmp_path: Path, arguments: list[str]) -> None:
    photographs(tmp_path / "photographs")
    run = write(tmp_path, run_document())
    program = (
        "import sys, kubetuner.cli.main as m\n"
        "try: m.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "loaded = {'torch', 'diffusers', 'transformers', 'accelerate', 'peft', 'grpc', 'kubernetes'} & set(sys.modules)\n"
        "sys.exit(f'imported {loaded}' if loaded else 0)"
    )
    command = [sys.executable, "-c", program, *(run if word == "RUN" else word for word in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == 0, done.stderr
