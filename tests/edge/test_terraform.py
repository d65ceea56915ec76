"""Fastly's Terraform module: as far as it can be checked without an account.

The format always, where Terraform is there. Validation, and the module's own tests with a mocked provider, need the
schema of the provider: they run where `terraform init` can get it, from the registry or from a mirror that
`TF_CLI_CONFIG_FILE` names, and are skipped with Terraform's own reason elsewhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.authorities import of_the_outside

FASTLY = Path(__file__).parents[2] / "cdn" / "fastly"
MODULE = FASTLY / "terraform"


def run(terraform: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [terraform, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env=of_the_outside(),
    )


@pytest.fixture(scope="module")
def terraform() -> str:
    """Terraform itself; skipped without it even in CI, because no Debian package has it."""
    found = shutil.which("terraform")
    if found is None:
        pytest.skip("terraform is not installed (https://developer.hashicorp.com/terraform/install)")
    return found


@pytest.fixture(scope="module")
def initialised(terraform: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the module with its provider."""
    folder = tmp_path_factory.mktemp("terraform") / "fastly"
    shutil.copytree(FASTLY, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    for each in (folder / "terraform", folder / "terraform" / "example"):
        done = run(terraform, each, "init", "-backend=false", "-input=false", "-no-color")
        if done.returncode != 0:
            reason = " ".join(done.stdout.replace("│", " ").split())
            pytest.skip(f"the provider fastly/fastly cannot be had: {reason[-300:]}")
    return folder / "terraform"


def test_module_is_formatted(terraform: str) -> None:
    done = run(terraform, MODULE, "fmt", "-check", "-diff", "-recursive", "-no-color")
    assert done.returncode == 0, done.stdout


def test_module_and_its_example_are_valid(terraform: str, initialised: Path) -> None:
    for folder in (initialised, initialised / "example"):
        done = run(terraform, folder, "validate", "-no-color")
        assert done.returncode == 0, done.stdout


def test_module_refuses_what_it_should_and_plans_the_rest(terraform: str, initialised: Path) -> None:
    done = run(terraform, initialised, "test", "-no-color")
    assert done.returncode == 0, done.stdout
    runs = (MODULE / "tests" / "edge.tftest.hcl").read_text().count("\nrun ")
    assert f"{runs} passed, 0 failed" in done.stdout


def test_module_names_what_the_vcl_asks_for() -> None:
    vcl = (FASTLY / "flagstream.vcl").read_text()
    module = (MODULE / "main.tf").read_text()
    blocks = re.findall(r'^  (backend|dictionary) \{\n\s+name\s+= "(\w+)"', module, re.MULTILINE)
    backends = {name for kind, name in blocks if kind == "backend"}
    dictionaries = {name for kind, name in blocks if kind == "dictionary"}
    code = re.sub(r"^\s*#.*$", "", vcl, flags=re.MULTILINE)
    assert set(re.findall(r"\bF_(\w+)", code)) == backends
    assert set(re.findall(r"table\.lookup\((\w+),", code)) == dictionaries
    endpoint = re.search(r'content \{\n\s+name\s+= "(\w+)"\n\s+url', module)
    assert endpoint is not None
    assert f" {endpoint[1]} :: " in code
    items = re.search(r"  items = \{\n(.*?)  \}", module, re.DOTALL)
    assert items is not None
    settings = set(re.findall(r'flagstream_settings, "(\w+)"', code))
    assert set(re.findall(r"^\s+(\w+)\s+=", items[1], re.MULTILINE)) == settings


def test_module_has_the_timeouts_of_the_vcl() -> None:
    vcl = (FASTLY / "flagstream.vcl").read_text()
    module = (MODULE / "main.tf").read_text()
    for name in ("between_bytes_timeout", "first_byte_timeout"):
        seconds = [int(each) for each in re.findall(rf"bereq\.{name} = (\d+)s;", vcl)]
        milliseconds = re.search(rf"^  {name}\s+= (\d+)$", module, re.MULTILINE)
        assert milliseconds is not None
        # The last one is that of everything but streams.
        assert int(milliseconds[1]) == seconds[-1] * 1000


def test_every_variable_and_output_is_described() -> None:
    for name in ("variables.tf", "outputs.tf"):
        text = (MODULE / name).read_text()
        blocks = re.findall(r'^(?:variable|output) "(\w+)" \{\n  description = "[^"]{20,}', text, re.MULTILINE)
        assert len(blocks) == len(re.findall(r"^(?:variable|output) ", text, re.MULTILINE)) > 0
