"""Names of the user's own: entry points, modules, files, and one sentence for each mistake in them."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from trim import plugins
from trim.backends.base import BaseBackend
from trim.cli.main import main
from trim.config.factory import Backends, open_backends
from trim.config.loading import load_config
from trim.config.settings import Config, ModelSettings, PrmSettings
from trim.config.specs import identities
from trim.errors import ConfigError, TaskError
from trim.policies import PolicySpec, open_policy, open_sweep
from trim.tasks import load_task

POLICY = """
from dataclasses import dataclass
from trim.protocols import Policy
from trim.types import Action

@dataclass(frozen=True)
class Mine(Policy):
    k: float = 0.5
    name: str = "mine"
    sweep = (0.2, 0.8)
    parameter_range = (0.0, 1.0)

    @property
    def parameter(self):
        return self.k

    def act(self, observation):
        return Action.CONTINUE

@dataclass(frozen=True)
class Plain(Policy):
    name: str = "plain"

    def act(self, observation):
        return Action.CONTINUE

@dataclass(frozen=True)
class Impostor(Plain):
    name: str = "threshold"

class Half:
    name = "half"
    parameter = None
    uses_drafts = uses_scores = True

class Broken(Mine):
    def __init__(self, k):
        raise RuntimeError("no luck")

NOT_CALLABLE = 3
"""
REST = """
from trim.backends.base import BaseBackend, BaseGenerator, step_stream
from trim.tasks import fixed_questions
from trim.types import Finish, Question, Role, Scores, Step, StepOptions

class Judge(BaseBackend):
    def __init__(self, spec):
        self.spec = spec

    async def score(self, question, steps):
        return Scores(tuple(0.4 if "12" in step else 0.5 for step in steps))

class Writer(BaseGenerator):
    def __init__(self, spec):
        self.spec = spec

    @step_stream
    async def steps(self, question, kept, options=StepOptions()):
        yield Step("#### 4", self.spec.role, 3, Finish.EOS)

class Mute(BaseBackend):
    def __init__(self, spec):
        pass

def task():
    return fixed_questions("sums", [Question("2 + 2?", "4")], lambda answer, question: answer == question.reference)

def no_task():
    return 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(POLICY + REST)
    return tmp_path / "own.py"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose metadata offers one thing of each kind."""
    (tmp_path / "site" / "patient_trim").mkdir(parents=True)
    (tmp_path / "site" / "patient_trim" / "__init__.py").write_text(POLICY + REST)
    info = tmp_path / "site" / "patient_trim-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: patient-trim\nVersion: 1.0\n")
    points = {"policies": "mine = patient_trim:Mine", "tasks": "sums = patient_trim:task"}
    points |= {"scorers": "flat = patient_trim:Judge", "backends": "four = patient_trim:Writer"}
    (info / "entry_points.txt").write_text("".join(f"[trim.{group}]\n{line}\n" for group, line in points.items()))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    plugins.attribute.cache_clear()
    sys.modules.pop("patient_trim", None)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("own.py:Mine", True),
        ("/a/b c/own.py:Mine", True),
        (r"C:\a\own.py:Mine", True),
        ("package.module:Mine", True),
        ("gsm_symbolic:easy", True),  # TRIM's own names are looked up first
        ("threshold", False),
        ("http://host:8000", False),
        (r"C:\data\questions.jsonl", False),
        ("own.py", False),
        ("own/file.txt:Mine", False),
        ("own.py:", False),
    ],
)
def test_what_refers_to_code(name: str, reference: bool) -> None:
    assert plugins.is_reference(name) is reference


def test_a_policy_from_a_file(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = PolicySpec.parse(f"{own}:Mine")
    assert open_policy(spec).parameter == 0.5
    assert open_policy(spec, 0.7).parameter == 0.7
    assert [policy.parameter for policy in open_sweep(spec)] == [0.2, 0.8]
    assert type(open_policy(spec)) is type(open_policy(spec, 0.7))  # the file ran once
    monkeypatch.chdir(own.parent.parent)
    folder = own.parent.name
    for name in (f"{folder}/own.py:Plain", f"{folder}\\own.py:Plain", f"./{folder}/../{folder}/own.py:Plain"):
        assert open_policy(PolicySpec.parse(name)).name == "plain"
    monkeypatch.setenv("HOME", str(own.parent))
    assert open_policy(PolicySpec.parse("~/own.py:Plain")).name == "plain"


@pytest.mark.parametrize(
    ("name", "parameter", "words"),
    [
        ("DIR/absent.py:Mine", None, "there is no file DIR/absent.py"),
        ("DIR/own.py:Mien", None, "has no 'Mien'; did you mean 'Mine'[?]"),
        ("DIR/own.py:NOT_CALLABLE", None, "is not a class or a function but 3"),
        ("DIR/own.py:Half", None, "is not a Policy: it has no act, max_revisions, prepare \\(see trim.protocols\\)"),
        ("DIR/own.py:Plain", 0.5, "made with the parameter 0.5 and says that it has None"),
        ("DIR/own.py:Impostor", None, "calls itself 'threshold', which is a policy of TRIM"),
        ("DIR/own.py:Broken", 0.5, "made with 0.5 raised RuntimeError: no luck"),
        ("DIR/own.py:Mine", 1.5, "must lie in \\[0, 1\\], not 1.5"),
        ("DIR/half.py:Mine", None, "importing DIR/half.py raised ZeroDivisionError: division by zero"),
        ("DIR/syntax.py:Mine", None, "importing DIR/syntax.py raised SyntaxError"),
        ("DIR/needs.py:Mine", None, "importing DIR/needs.py failed: No module named 'nowhere'"),
        ("nowhere.at_all:Mine", None, "there is no module 'nowhere'"),
        ("trim.types:Nothing", None, "trim.types has no 'Nothing'"),
        ("json:loads", None, "cannot be made with no argument: missing a required argument: 's'"),
        ("mine", None, "unknown policy 'mine'; there are policies: .*your own: FILE.py:NAME or MODULE:NAME"),
    ],
)
def test_mistakes_get_one_sentence(own: Path, name: str, parameter: float | None, words: str) -> None:
    (own.parent / "half.py").write_text("1 / 0\n")
    (own.parent / "syntax.py").write_text("def (:\n")
    (own.parent / "needs.py").write_text("import nowhere\n")
    spec = PolicySpec.parse(name.replace("DIR", str(own.parent)))
    with pytest.raises(ConfigError, match=words.replace("DIR", str(own.parent))) as raised:
        open_policy(spec, parameter)
    assert "\n" not in str(raised.value)


def test_the_command_line_says_it_too(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "2 + 2?", "--policy", f"{own}:Half"]) == 2
    assert capsys.readouterr().err.startswith(f"trim: policy {own}:Half is not a Policy")


@pytest.mark.usefixtures("installed")
def test_entry_points(tmp_path: Path) -> None:
    assert open_policy(PolicySpec("mine"), 0.3).parameter == 0.3
    assert load_task("sums").name == "sums"
    with pytest.raises(ConfigError, match=r"unknown policy 'mien'; did you mean 'mine'[?].*entry points: mine"):
        open_policy(PolicySpec("mien"))
    with pytest.raises(TaskError, match=r"unknown task 'smus'; did you mean 'sums'[?]"):
        load_task("smus")
    config = tmp_path / "trim.toml"
    config.write_text('[weak]\nbackend = "four"\n[prm]\nbackend = "flat"\n[policy]\nname = "mine"\nparameter = 0.1\n')
    assert main(["config", "check", str(config), "--probe"]) == 0
    assert identities(load_config(config))["weak"] == "four"


def test_models_and_judges_get_the_settings_of_their_role(own: Path) -> None:
    weak, prm = ModelSettings(f"{own}:Writer", "small"), PrmSettings(f"{own}:Judge", timeout=3.0)
    config = Config(weak=weak, prm=prm)
    assert identities(config)["weak"] == f"{own}:Writer:small"

    async def opened() -> Backends:
        async with open_backends(config) as backends:
            return backends

    backends = asyncio.run(opened())
    assert backends.weak.spec.model == "small"  # type: ignore[attr-defined]
    assert backends.prm.spec.timeout == 3.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("table", "name", "words"),
    [
        ("weak", "own.py:Mute", r"\[weak\] backend .*:Mute is not a StepGenerator: it has no sampled, steps"),
        ("prm", "own.py:Mute", r"\[prm\] backend .*:Mute is not a Judge: it has no score"),
        ("prm", "own.py:Jugde", "has no 'Jugde'; did you mean 'Judge'"),
    ],
)
def test_an_object_that_is_not_a_backend(own: Path, table: str, name: str, words: str) -> None:
    path = own.parent / "trim.toml"
    path.write_text(f'[{table}]\nbackend = "{own.parent}/{name}"\n')

    async def opened() -> None:
        async with open_backends(load_config(path)):
            pass

    with pytest.raises(ConfigError, match=words):
        asyncio.run(opened())


def test_a_backend_that_is_neither_known_nor_code(tmp_path: Path) -> None:
    path = tmp_path / "trim.toml"
    path.write_text('[prm]\nbackend = "vlm"\n')
    with pytest.raises(ConfigError, match=r"trim.toml:2: \[prm\] backend = 'vlm' must be one of .*did you mean 'vllm'"):
        load_config(path)


def test_tasks_from_a_file(own: Path) -> None:
    task = load_task(f"{own}:task")
    assert [question.id for question in task.questions(1, 0)] == ["sums/0"]
    assert task.right(task.answer("#### 4"), task.questions(1, 0)[0])
    with pytest.raises(ConfigError, match=r"gives a int, not a trim.tasks.Task"):
        load_task(f"{own}:no_task")
    with pytest.raises(TaskError, match="unknown task 'math50'; did you mean 'math500'"):
        load_task("math50")


def test_a_judge_that_takes_no_settings_is_told_so_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "judges.py"
    file.write_text("from trim.backends.base import BaseBackend\nclass Mine(BaseBackend):\n    pass\n")
    with pytest.raises(ConfigError, match="cannot be made with one argument, a Spec: ") as caught:
        plugins.SCORERS.make(f"{file}:Mine", Spec())
    assert "a very long address" not in str(caught.value)
    made = plugins.call(plugins.attribute(f"{file}:Mine", "judge"), "judge")
    assert isinstance(made, BaseBackend)
    assert made.identity == "judges.py:Mine"


@dataclass(frozen=True)
class Spec:
    base_url: str = "a very long address"
