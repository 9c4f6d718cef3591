import json

import pytest
import yaml

from cli.render.columns import clipped, fitted, shortened, width, wrapped
from cli.render.output import emit


@pytest.mark.parametrize("output", [None, "json"])
def test_document_is_json_without_a_terminal(capsys: pytest.CaptureFixture[str], output: str | None) -> None:
    emit({"größe": 1}, output, lambda: "table")

    assert json.loads(capsys.readouterr().out) == {"größe": 1}


def test_document_as_yaml_keeps_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"b": 1, "a": None}, "yaml", lambda: "table")

    printed = capsys.readouterr().out
    assert yaml.safe_load(printed) == {"b": 1, "a": None}
    assert printed.startswith("b:")


def test_table_is_printed_when_requested(capsys: pytest.CaptureFixture[str]) -> None:
    emit({}, "table", lambda: "the table")

    assert capsys.readouterr().out == "the table\n"


def test_too_wide_table_is_cut_in_its_widest_column() -> None:
    rows = [["shop", "Deployment/" + "x" * 100, "stale"], ["odd", "Pod/y", "current"]]

    lines = fitted(["NAMESPACE", "WORKLOAD", "CLASS"], rows, 40).splitlines()

    assert max(len(line) for line in lines) <= 40
    assert lines[0].split() == ["NAMESPACE", "WORKLOAD", "CLASS"]
    assert lines[1].startswith("shop ")
    assert lines[1].endswith("stale")


def test_piped_table_keeps_whole_names() -> None:
    name = "n" * 200

    assert name in fitted(["NAME"], [[name]])


def test_table_on_a_terminal_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    assert width() == 80


@pytest.mark.parametrize(("text", "limit", "cut"), [("abcdef", 6, "abcdef"), ("abcdefgh", 5, "ab…gh"), ("abc", 1, "a")])
def test_names_are_cut_in_their_middle(text: str, limit: int, cut: str) -> None:
    assert shortened(text, limit) == cut


def test_sentences_are_cut_at_their_end() -> None:
    assert clipped("one two three", 8) == "one two…"


def test_prose_is_broken_between_words_and_names_stay_whole() -> None:
    name = "odd/Deployment/legacy-importer-of-a-long-name"

    assert wrapped(f"one two {name} three", "Why: ", 20).splitlines() == ["Why: one two", f"     {name}", "     three"]
    assert wrapped(f"one two {name} three " * 9, "Why: ").count("\n") == 0
