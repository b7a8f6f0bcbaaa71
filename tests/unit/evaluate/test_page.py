"""The page's text: everything is in it, what users wrote is escaped, nothing is fetched."""

from __future__ import annotations

import re

from kubetuner.evaluate.core import page
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.v1alpha1.training_run_pb2 import TrainingRun
from tests.builders import run_document
from tests.reports import DIGEST, a_report

HOSTILE = "a <script>alert(1)</script> \"cat\" & 'dog' {{ 7 * 7 }} </style>"


def a_run(name: str = "photographs") -> TrainingRun:
    run = resolve(parse_run(run_document()))
    run.metadata.name = name
    return run


def test_what_users_wrote_is_escaped() -> None:
    run = a_run()
    run.spec.datasets[0].instance_prompts.append(HOSTILE)
    text = page.render(a_report(prompts=(HOSTILE,), notice=HOSTILE), run)
    assert text.count("<script") == 4  # three charts' data and the page's own
    assert "&lt;script&gt;alert(1)" in text
    assert "49 " not in text
    assert text.count("</style>") == 1


def test_page_asks_for_nothing_from_the_network() -> None:
    text = page.render(a_report(), a_run())
    asked = re.findall(r"""\s(?:src|href)=["']?([^"'>\s]*)""", text)
    assert asked
    assert [address for address in asked if not address.startswith(("data:", "#"))] == []
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert "url(" not in text


def test_page_tells_the_whole_story() -> None:
    text = page.render(a_report(notice="The weights are random."), a_run())
    for words in (
        "<h1>photographs</h1>", "The weights are random.", "0.1432", "0.1287", "−10.1 %", "step 150", "37 too small",
        "pipe.load_lora_weights", "models/loras", DIGEST, "learningRate: 0.001", "1280 × 768 · seed 7", "torch 2.15.0",
    ):  # fmt: skip
        assert words in text, words


def test_every_image_says_what_it_is() -> None:
    text = page.render(a_report(), a_run())
    images = re.findall(r'<img src="data:image/webp;base64,[^"]+" width="\d+" height="\d+" alt="([^"]*)"', text)
    assert len(images) == 8
    assert images[0] == "Base model: a photograph of a camera, 1024 by 1024, seed 7"
    assert images[1].startswith("Tuned model: ")


def test_true_pictures_stand_beside_what_is_drawn() -> None:
    text = page.render(a_report(prompts=(), compared=("a lineart emoji of a crab",), sheet=("a cat", HOSTILE)), a_run())
    drawn = re.findall(r'data-zoom data-scale="([^"]+)"', text)
    said = re.findall(r'alt="([^"]*)"><span class="tag"', text)
    assert drawn == ["0", "0.5", "1"]
    assert [words.split(":")[0] for words in said] == ["Base model", "Tuned model at strength 0.5", "Tuned model", "True picture"]
    for words in ("54 %", "97 %", "99.6 %", "13.6", "5.8", "12 %", "50 %", 'title="a cat"', 'data-scales="[0.0, 0.5, 1.0]"'):
        assert words in text, words
    assert text.count("<script>") == 1


def test_equal_reports_make_equal_pages() -> None:
    assert page.render(a_report(), a_run()) == page.render(a_report(), a_run())


def test_a_training_of_one_step_has_a_page() -> None:
    assert "1 steps" not in (text := page.render(a_report(steps=2, prompts=()), a_run()))
    assert 'id="images"' not in text
