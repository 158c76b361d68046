"""The README tells the truth: its commands parse, its verbs are all there, its files exist."""

from __future__ import annotations

import importlib.util
import re
import shlex

import click
import pytest

from edgefuse.cli import COMMANDS, app


@pytest.fixture(scope="module")
def readme(request):
    return (request.config.rootpath / "README.md").read_text(encoding="utf-8")


def commands(text):
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [
        line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.startswith("edgefuse")
    ]


def test_every_command_of_the_readme_is_accepted_by_the_parser(readme):
    found = commands(readme)
    assert len(found) >= 6
    for line in found:
        _, verb, *arguments = shlex.split(line)
        command = app.get_command(click.Context(app), verb)
        assert command is not None, line
        command.make_context(verb, arguments)


def test_every_verb_is_shown(readme):
    for verb in COMMANDS:
        assert f"edgefuse {verb}" in readme


def test_every_link_and_every_module_of_the_drawing_exists(readme, request):
    root = request.config.rootpath
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (root / target).exists(), target
    drawing = readme.split("## How it is built")[1].split("```")[1]
    for name in re.findall(r"\b(\w+\.py)\b", drawing):
        assert (root / "edgefuse" / name).is_file(), name
    for name in re.findall(r"\b(\w+)/", drawing):
        assert (root / "edgefuse" / name).is_dir() or name == "edgefuse", name


def test_the_make_targets_are_those_that_ci_runs(readme, request):
    makefile = (request.config.rootpath / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", readme, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "make test" in (request.config.rootpath / ".ci" / "run").read_text()


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_that_fits_80_columns(verb, cli):
    found = cli(verb, "--help")
    assert found.code == 0 and "Usage:" in found.out
    assert max(map(len, found.out.splitlines())) <= 80


def test_the_command_reference_is_what_help_prints(request):
    docs = request.config.rootpath / "docs"
    spec = importlib.util.spec_from_file_location("cli_reference", docs / "cli_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (docs / "cli.md").read_text(encoding="utf-8") == module.page(), "run: python docs/cli_reference.py"
