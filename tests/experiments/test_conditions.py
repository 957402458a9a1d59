"""What a run's results depend on: a change of it is named, old and new, and can be accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.fake_server import serving
from trim.cli.main import main
from trim.config.loading import load_config
from trim.config.settings import Config, GenerationSettings, ModelSettings, PriceSettings, PrmSettings
from trim.experiments.conditions import conditions, differences, of_record

SERVER = ModelSettings("vllm", "m", "http://x/v1")
CONFIG = Config(weak=SERVER, strong=SERVER, prm=PrmSettings("vllm", "m", "http://x"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(CONFIG, weak=replace(SERVER, system="Be brief.")), {"weak.system": "none -> Be brief."}),
        (replace(CONFIG, strong=replace(SERVER, template="trim")), {"strong.template": "none -> trim"}),
        (replace(CONFIG, weak=replace(SERVER, continuation="chat")), {"weak.continuation": "completions -> chat"}),
        (replace(CONFIG, prm=replace(CONFIG.prm, step_mark="<x>")), {"prm.step_mark": "<extra_0> -> <x>"}),
        (
            replace(CONFIG, strong=replace(SERVER, prices=PriceSettings(1.0))),
            {"prices.strong.prompt": "none -> 1.0"},
        ),
        (replace(CONFIG, generation=GenerationSettings(lookahead=0)), {"lookahead": "1 -> 0"}),
        (replace(CONFIG, weak=replace(SERVER, timeout=5.0, retries=1, on_error="strong", api_key_env="K")), {}),
    ],
)
def test_what_differs_is_named(changed: Config, words: dict[str, str]) -> None:
    before, now = ({"conditions": conditions(config, "gsm_symbolic")} for config in (CONFIG, changed))
    assert differences(before, now) == words
    assert differences(before, before) == {}


def test_a_record_depends_on_sampling_but_not_on_prices() -> None:
    dearer = replace(CONFIG, strong=replace(SERVER, prices=PriceSettings(1.0)))
    warmer = replace(CONFIG, generation=GenerationSettings(temperature=1.0))
    before = of_record(CONFIG, "gsm_symbolic")
    assert differences(before, of_record(dearer, "gsm_symbolic")) == {}
    assert differences(before, of_record(warmer, "gsm_symbolic")) == {"sampling.temperature": "0.7 -> 1.0"}


def test_the_content_of_files_counts_and_not_their_place(tmp_path: Path) -> None:
    task, template = tmp_path / "q.jsonl", tmp_path / "template"
    template.mkdir()
    (template / "tokenizer_config.json").write_text("{}")
    task.write_text("1")
    config = replace(CONFIG, weak=replace(SERVER, template=str(template)))
    before = {"conditions": conditions(config, str(task))}
    task.write_text("2")
    (template / "tokenizer_config.json").write_text("[]")
    assert differences(before, {"conditions": conditions(config, str(task))}).keys() == {"task_file", "weak.template"}
    task.write_text("1")
    (template / "tokenizer_config.json").write_text("{}")
    template.rename(tmp_path / "moved")
    moved = replace(CONFIG, weak=replace(SERVER, template=str(tmp_path / "moved")))
    assert differences(before, {"conditions": conditions(moved, str(task.rename(tmp_path / "r.jsonl")))}) == {}


def test_a_run_is_resumed_under_its_own_conditions_or_accepted_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, config, own, out = (tmp_path / name for name in ("q.jsonl", "trim.toml", "own.py", "out"))
    file.write_text('{"question": "What is 2 + 3?", "answer": "5"}\n{"question": "What is 2 + 4?", "answer": "6"}\n')
    own.write_text(
        "from trim import Action, Policy\nclass Mine(Policy):\n    name, parameter = 'mine', None\n"
        "    def act(self, observation):\n        return Action.CONTINUE\n"
    )
    config.write_text("")
    command = ["eval", "--task", str(file), "--policies", f"always-weak,{own}:Mine", "--config", str(config)]
    command += ["--out", str(out), "--json"]
    assert main(command) == 0, capsys.readouterr().err
    first = capsys.readouterr().out
    assert main([*command, "--resume"]) == 0
    assert capsys.readouterr().out == first

    config.write_text("[strong.prices]\ncompletion = 99.0\n[generation]\ntemperature = 0.1\n")
    own.write_text(own.read_text() + "# changed\n")
    about = json.loads((out / "run.json").read_text())
    about["conditions"]["trim"] = "0.0.1"
    (out / "run.json").write_text(json.dumps(about))
    assert main([*command, "--resume"]) == 2
    error = capsys.readouterr().err
    for words in (
        "prices.strong.completion 1.6 -> 99.0",
        "generation.temperature 0.7 -> 0.1",
        "trim 0.0.1 -> ",
        "own.py:Mine sha256",
    ):
        assert words in error
    assert error.count("\n") == 1

    assert main([*command, "--resume", "--accept", "trim,prices"]) == 2
    error = capsys.readouterr().err
    assert "trim 0.0.1" not in error
    assert "generation.temperature" in error
    accept = error.rpartition("--accept ")[2].strip()
    assert main([*command, "--resume", "--accept", f"trim,prices,{accept}"]) == 0
    assert "prices.strong.completion 1.6 -> 99.0" in json.loads((out / "run.json").read_text())["accepted"]
    assert main([*command, "--resume"]) == 0

    file.write_text(file.read_text().replace('"6"', '"7"'))
    assert main([*command, "--resume"]) == 2
    assert "task_file sha256" in capsys.readouterr().err.replace("out holds another run: ", "")
    assert main([*command, "--resume", "--accept", "task_file"]) == 2
    assert "has another text or reference there" in capsys.readouterr().err


def test_policies_may_be_added_and_left_out(tmp_path: Path) -> None:
    config = load_config(None, {})
    own = tmp_path / "own.py"
    own.write_text("")
    one, both = (conditions(config, "gsm_symbolic", names) for names in (["threshold"], ["threshold", f"{own}:Mine"]))
    assert differences({"conditions": one}, {"conditions": both}) == {}
    assert differences({"conditions": both}, {"conditions": one}) == {}


def test_a_folder_of_an_earlier_version_says_so() -> None:
    now = json.loads(json.dumps({"seed": 1, "conditions": conditions(CONFIG, "gsm_symbolic")}))
    assert differences({"seed": 1, "conditions": {}}, now) == {"trim": f"none -> {now['conditions']['trim']}"}


def test_the_template_that_a_server_tells_is_kept_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, out = tmp_path / "q.jsonl", tmp_path / "out"
    task.write_text('{"question": "Tom has 3 apples and buys 4 more. How many?", "answer": "7"}\n')
    props = {"chat_template": "{{ messages[-1].content }}\n", "default_generation_settings": {"n_ctx": 4096}}
    with serving(props=props) as habits:
        models = ["--weak", f"llama-server/@{habits.url}", "--strong", f"llama-server/@{habits.url}"]
        command = ["eval", "--task", str(task), *models, "--judge", "strong", "--policies", "always-weak"]
        command += ["--out", str(out), "--quiet"]

        def kept() -> dict[str, str]:
            found: dict[str, str] = json.loads((out / "run.json").read_text())["conditions"]["weak"]["server_template"]
            return found

        assert main(command) == 0
        assert kept() == {"origin": "the server's, from /props", "source": props["chat_template"]}
        habits.props = None  # it tells none now, or is not there
        assert main([*command, "--resume"]) == 0
        assert kept()["source"] == props["chat_template"]
        habits.props = props | {"chat_template": "Question: {{ messages[-1].content }}"}
        capsys.readouterr()
        assert main([*command, "--resume"]) == 2
        assert "holds another run: weak.server_template.source {{ messages[-1].content }}" in capsys.readouterr().err
        assert main([*command, "--resume", "--accept", "weak.server_template,strong.server_template"]) == 0
