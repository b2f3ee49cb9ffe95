"""The README keeps its promises: commands run, links lead somewhere, and the map is complete.

Each check takes the text and returns its findings, so that a planted fault shows that it can fail.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import yaml

import update_links
from test_binder import copy_repository

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
REPOSITORY = update_links.read_repository((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FIRST_NOTEBOOK = "notebooks/01_save_and_load.ipynb"
LESSONS = (FIRST_NOTEBOOK, "notebooks/02_tensorflow_graph.ipynb", "notebooks/03_onnx.ipynb")


def fences(readme: str, language: str) -> list[str]:
    """List the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)


def commands(readme: str) -> list[str]:
    """List the shell commands, one a line."""
    return "".join(fences(readme, "bash")).splitlines()


def section(readme: str, title: str) -> str:
    """Return the text below a heading."""
    return readme.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table_rows(text: str) -> list[list[str]]:
    """List the cells of each row of a table, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def link_targets(text: str) -> list[str]:
    """List where links and pictures lead."""
    return re.findall(r"\]\(([^)\s]+)\)", text)


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without what an outer make has set."""
    inherited = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        command, cwd=folder, env=inherited | environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def clone(address: str, folder: Path) -> str:
    """Run the README's clone; git is told to take this repository for the address."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return ""  # an unpacked archive has nothing to clone
    settings = folder / "gitconfig"
    settings.write_text(
        f'[url "{ROOT.as_uri()}"]\n\tinsteadOf = {address}\n[safe]\n\tdirectory = *\n'
    )
    result = run("git", "clone", address, folder=folder, GIT_CONFIG_GLOBAL=str(settings))
    return result.stderr if result.returncode else ""


def enter(name: str, folder: Path) -> str:
    """The folder is the one that the clone made."""
    made = (folder / name / "Makefile").exists() or not (ROOT / ".git").exists()
    return "" if made and name == REPOSITORY.split("/")[1] else f"no folder {name}"


def plan(target: str, folder: Path) -> str:
    """Make finds the target and can plan it; to run it here would start these tests again."""
    result = run("make", "-n", target, folder=ROOT)
    expected = {"lab": FIRST_NOTEBOOK, "test": "-m pytest"}[target]
    return "" if not result.returncode and expected in result.stdout else result.stderr or target


def create(name: str, folder: Path) -> str:
    """The file is there; what conda makes of it is tested in test_binder.py."""
    return "" if (ROOT / name).is_file() else f"no file {name}"


def activate(name: str, folder: Path) -> str:
    """The environment has this name."""
    found = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["name"]
    return "" if found == name else f"the environment is called {found}"


def open_lab(name: str, folder: Path) -> str:
    """JupyterLab is installed, and the notebook is there."""
    there = (ROOT / name).is_file() and importlib.util.find_spec("jupyterlab")
    return "" if there else f"JupyterLab cannot open {name}"


COMMANDS: dict[str, Callable[[str, Path], str]] = {
    r"git clone (\S+)": clone,
    r"cd (\S+)": enter,
    r"make (lab)": plan,
    r"make (test)": plan,
    r"conda env create -f (\S+)": create,
    r"conda activate (\S+)": activate,
    r"jupyter lab (\S+)": open_lab,
}
"""Every command of the README, and its test: it gets the argument and returns what is wrong."""


def check_commands(readme: str, folder: Path) -> list[str]:
    """Each command is known, works, and stands in its place."""
    findings, seen = [], []
    for command in commands(readme):
        known = [pattern for pattern in COMMANDS if re.fullmatch(pattern, command)]
        if not known:
            findings.append(f"unknown command: {command}")
            continue
        seen += known
        argument = re.fullmatch(known[0], command)[1]
        if finding := COMMANDS[known[0]](argument, folder):
            findings.append(f"{command}: {finding}")
    if seen != list(COMMANDS):
        findings.append(f"commands missing, doubled or in another order: {seen}")
    languages = set(re.findall(r"^```(.+)$", readme, flags=re.MULTILINE))
    if languages != {"bash", "python"}:
        findings.append(f"code blocks that no test reads: {languages}")
    return findings + check_targets(readme)


def check_targets(text: str) -> list[str]:
    """Every target of make that is named is there."""
    (targets,) = re.findall(r"^\.PHONY: (help .*)", MAKEFILE, flags=re.MULTILINE)
    named = set(re.findall(r"`make (\w+)`", text))
    return [f"no target {name}" for name in sorted(named - set(targets.split()))]


def check_links(readme: str) -> list[str]:
    """Links to files and to headings lead somewhere; pictures have alt text."""
    titles = re.findall(r"^#+ (.*)$", readme, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    findings = [f"picture without alt text: {target}" for target in re.findall(r"!\[\]\S*", readme)]
    for target in link_targets(readme):
        if target.startswith("#"):
            found = target[1:] in anchors
        else:
            found = target.startswith("https://mybinder.org/") or (ROOT / target).exists()
        if not found:
            findings.append(f"dead link: {target}")
    return findings


def check_strategies(readme: str, existing: set[str]) -> list[str]:
    """Three strategies; a lesson is linked when it exists and "in preparation" when not."""
    rows = table_rows(section(readme, "The three strategies"))
    findings = []
    if [row[0] for row in rows] != ["Save and load", "TensorFlow graph", "ONNX"]:
        findings.append(f"the rows are {[row[0] for row in rows]}")
    for row, lesson in zip(rows, LESSONS, strict=False):
        if len(row) != 6 or not all(row):
            findings.append(f"not six filled cells: {row}")
        if lesson in existing and link_targets(row[-1]) != [lesson]:
            findings.append(f"{lesson} exists: link it")
        if lesson not in existing and row[-1] != "in preparation":
            findings.append(f"{lesson} does not exist: {row[-1]}")
    return findings


def check_map(readme: str, top: set[str]) -> list[str]:
    """The map has every file and folder at the top, and nothing else."""
    rows = table_rows(section(readme, "Map of the files"))
    mapped = {target.rstrip("/") for row in rows for target in link_targets(row[0])}
    return [f"in the folder or in the map alone: {name}" for name in sorted(mapped ^ top)]


def check_binder(readme: str, repository: str) -> list[str]:
    """The badge opens the first notebook of this repository in JupyterLab."""
    links = [target for target in link_targets(readme) if "/v2/gh/" in target]
    findings = [] if links else ["no link to Binder"]
    for link in map(urlsplit, links):
        if link.path != f"/v2/gh/{repository}/HEAD":
            findings.append(f"Binder builds {link.path}")
        if parse_qs(link.query) != {"urlpath": [f"lab/tree/{FIRST_NOTEBOOK}"]}:
            findings.append(f"Binder opens {link.query}")
    if update_links.update_links(readme, repository) != readme:
        findings.append("a link names another repository: run make links")
    return findings


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files and folders at the top of a clone."""
    copy = copy_repository(tmp_path_factory.mktemp("copy") / "clone")
    return {path.name for path in copy.iterdir()}


@pytest.fixture
def existing() -> set[str]:
    return {lesson for lesson in LESSONS if (ROOT / lesson).is_file()}


def changed(old: str, new: str) -> str:
    """Plant a fault in the README, and make sure that it is there."""
    assert old in README
    return README.replace(old, new)


def test_every_command_works(tmp_path: Path) -> None:
    assert check_commands(README, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("make test\n", "make test\nmake magic\n"),
        ("make lab\n", ""),
        ("make lab\n", "make test\n"),
        ("-f environment.yml", "-f environment.yaml"),
        ("conda activate keras-deployment", "conda activate keras"),
        ("jupyter lab notebooks/01", "jupyter lab notebooks/11"),
        ("cd ", "cd the-"),
        ("```python", "```console\nls\n```\n\n```python"),
        ("`make links`", "`make badges`"),
    ],
    ids=lambda text: text.strip().replace("\n", " "),
)
def test_a_fault_in_a_command_is_found(tmp_path: Path, old: str, new: str) -> None:
    assert len(check_commands(changed(old, new), tmp_path)) > 0


def test_the_links_lead_somewhere() -> None:
    assert check_links(README) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(notebooks/overview.png)", "(notebooks/overvue.png)"),
        ("(#your-own-model)", "(#your-model)"),
        ("(Makefile)", "(makefile.txt)"),
        ("[02](notebooks/02_tensorflow_graph.ipynb)", "[02](notebooks/02_no_such_lesson.ipynb)"),
        ("## Start", "![](notebooks/overview.png)"),
    ],
)
def test_a_dead_link_is_found(old: str, new: str) -> None:
    assert len(check_links(changed(old, new))) == len(re.findall(re.escape(old), README))


def test_the_page_on_security_is_one_page_and_names_what_is_there() -> None:
    assert check_links(SECURITY) + check_targets(SECURITY) == []
    assert len(SECURITY.split()) < 750
    assert check_targets(SECURITY.replace("`make report`", "`make secret`")) == ["no target secret"]


def test_the_table_of_strategies_is_true(existing: set[str]) -> None:
    assert check_strategies(README, existing) == []


def test_a_fault_in_the_table_is_found(existing: set[str]) -> None:
    assert check_strategies(changed("| ONNX |", "| LiteRT |"), existing)
    assert check_strategies(changed("| a SavedModel folder |", "| |"), existing)
    for lesson in LESSONS:
        assert check_strategies(README, existing ^ {lesson})


def test_the_map_is_complete(top: set[str]) -> None:
    assert check_map(README, top) == []


def test_a_fault_in_the_map_is_found(top: set[str]) -> None:
    assert check_map(changed("[tests/](tests/)", "tests"), top)
    assert check_map(changed("[tests/](tests/)", "[tests/](tests/), [docs/](docs/)"), top)
    assert check_map(README, top | {"docs"})


def test_badge_and_links_follow_the_setting() -> None:
    assert check_binder(README, REPOSITORY) == []


def test_another_repository_is_written_everywhere() -> None:
    other = update_links.update_links(README, "ann-b/models.v2")
    assert check_binder(other, "ann-b/models.v2") == []
    assert "git clone https://github.com/ann-b/models.v2\ncd models.v2\n" in other
    assert REPOSITORY not in other
    assert update_links.update_links(other, REPOSITORY) == README


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"v2/gh/{REPOSITORY}", "v2/gh/somebody/else"),
        (f"github.com/{REPOSITORY}", "github.com/somebody/else"),
        ("urlpath=lab/tree/", "filepath="),
        ("urlpath=lab/tree/notebooks/01_save", "urlpath=lab/tree/notebooks/1_save"),
    ],
)
def test_a_link_that_does_not_follow_is_found(old: str, new: str) -> None:
    assert len(check_binder(changed(old, new), REPOSITORY)) > 0


def test_make_links_writes_the_setting_to_the_readme(tmp_path: Path) -> None:
    assert "tools/update_links.py" in run("make", "-n", "links", folder=ROOT).stdout
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert REPOSITORY in pyproject
    (tmp_path / "pyproject.toml").write_text(pyproject.replace(REPOSITORY, "ann/models"))
    (tmp_path / "README.md").write_text(README)
    update_links.main(tmp_path)
    assert check_binder((tmp_path / "README.md").read_text(), "ann/models") == []


@pytest.mark.parametrize(
    "repository", ["models", "ann/", "https://host/ann/models", "ann/my models"]
)
def test_a_setting_of_another_form_is_refused(repository: str) -> None:
    with pytest.raises(ValueError, match="expected owner/name"):
        update_links.read_repository(f'[tool.keras-deployment]\nrepository = "{repository}"')


def test_a_readme_without_a_link_is_refused() -> None:
    with pytest.raises(ValueError, match="no link of the form"):
        update_links.update_links("# A page", REPOSITORY)


def test_the_supported_pythons_are_the_ones_of_make_and_pip() -> None:
    (named,) = re.findall(r"Python ((?:3\.\d+(?:, | or )?)+) with pip", README)
    versions = re.findall(r"3\.\d+", named)
    assert f"SUPPORTED := {' '.join(versions)}\n" in MAKEFILE
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    after = f"3.{int(versions[-1].split('.')[1]) + 1}"
    assert pyproject["project"]["requires-python"] == f">={versions[0]},<{after}"


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the engineer of the example has: two files of a model, and inputs."""
    import keras

    from routes import write_artifact

    folder = tmp_path_factory.mktemp("own")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,), name="x"), keras.layers.Dense(3, name="scores")])
    for route in ("keras", "onnx"):
        write_artifact(model, route, folder / "model")
    model.layers[0].bias.assign([0.0, 0.0, 1.0])
    write_artifact(model, "onnx", folder / "other")
    random = np.random.default_rng(0)
    np.save(folder / "inputs.npy", random.normal(size=(20, 6)).astype(np.float32))
    return folder


def run_example(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the README's example in a folder with its files."""
    (code,) = fences(README, "python")
    return run(sys.executable, "-c", code, folder=folder)


def test_the_example_for_your_own_model_runs(own_files: Path) -> None:
    result = run_example(own_files)
    assert "Parity PASSED" in result.stdout, result.stderr
    assert "model.onnx: " in result.stdout


def test_the_example_finds_a_model_that_differs(own_files: Path, tmp_path: Path) -> None:
    shutil.copytree(own_files, tmp_path / "own")
    (tmp_path / "own" / "other.onnx").replace(tmp_path / "own" / "model.onnx")
    assert "Parity FAILED" in run_example(tmp_path / "own").stdout


def test_the_picture_is_what_the_code_draws() -> None:
    from matplotlib.image import imread

    from helpers.plots.style import to_png
    from overview import plot_overview

    committed = imread(ROOT / "notebooks" / "overview.png")
    drawn = imread(io.BytesIO(to_png(plot_overview())))
    hint = "draw it again: see tools/overview.py"
    assert committed.shape == drawn.shape, hint
    # Another machine may shade the edge of a letter differently; another letter is 20 pixels.
    assert (np.abs(committed - drawn) > 0.3).any(axis=2).sum() < 10, hint
    assert (committed[..., 3] == 1).all()
