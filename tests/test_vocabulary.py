"""Words that do not come back, and public names that stand for one thing.

The product speaks the language of Kubernetes, Istio, Kyma and Temporal (docs/reference/glossary.md). These tests keep
words of a private dialect out of code, sentences and documents.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("mesh", "activities", "workflows", "worker", "cli")
_THIS = Path(__file__).relative_to(ROOT)

#: Words that no identifier has among its parts (`snake_case`, `CamelCase`), each with what to say.
IDENTIFIERS = {
    "anew": "again",
    "beat": "heartbeat",
    "bunch": "batch",
    "bunches": "batches",
    "deed": "entry",
    "deeds": "entries",
    "fate": "status",
    "forgiven": "acknowledged",
    "gravest": "most_severe",
    "greet": "ping",
    "heard": "reported, received",
    "judge": "decide, evaluate",
    "judged": "decided, evaluated",
    "judging": "deciding",
    "klass": "pod_class",
    "mend": "fix",
    "mended": "fixed",
    "minded": "checked",
    "mind": "check",
    "overspent": "budget_exceeded",
    "patience": "timeout, options",
    "patiently": "with_retries",
    "poke": "notify",
    "poked": "notified",
    "sighting": "finding",
    "sightings": "findings",
    "squeezed": "would_exceed",
    "steered": "controlled",
    "stirred": "wake",
    "tally": "counters",
    "told": "detail, message, reason, failure: what it is",
    "unhurried": "queued",
    "wish": "request",
    "world": "snapshot",
}
#: Whole identifiers, each with what to say.
NAMES = {
    "ask": "request",
    "at_once": "concurrently, limit",
    "stands_on": "own_namespaces",
}
#: Names that no function, method or class has, each with what to say.
DEFINITIONS = {
    "Attempt": "UpgradeContext",
    "Bunches": "CompletionBatcher",
    "Expected": "ExpectedProxy",
    "ItemWord": "ItemCommand",
    "Look": "Observation",
    "Mirror": "Informer",
    "OpenWaves": "WaveCoordinator",
    "Patience": "WaitOptions",
    "Pool": "Interner",
    "Question": "InjectionQuery",
    "SharedSurveys": "SurveyCache",
    "Steer": "WaveControl",
    "Steered": "OperatorControls",
    "Steering": "OperatorControls",
    "Steps": "ActivityCalls",
    "Whole": "RawObject",
    "brief": "one_line, heartbeating",
    "did": "record",
    "look": "run_survey, observe",
    "look_at": "observe",
    "looked": "observed",
    "take_survey": "run_survey",
    "whole_pod": "pod_with_raw_spec",
    "word": "command",
    "words": "__str__, or display_name",
}
#: Phrases of sentences, comments and documents: regular expressions, each with what to say.
PHRASES = {
    r"mend(s|ed|ing)?": "fix",
    r"told": "reported, informed",
    r"is minded|are minded": "is checked",
    r"deeds?": "history entry",
    r"sightings?": "finding",
    r"pok(e|es|ed|ing)": "notify",
    r"greet(s|ed|ing)?": "ping",
    r"let(s|ting)? go of": "release",
    r"anew": "again; recreated",
    r"(taken?|taking|takes) a step up|stepped up": "poll",
    r"gravest": "most severe",
    r"squeez(e|es|ed|ing)": "exceed",
    r"patiently": "with retries",
    r"ails?|ailing": "is wrong with",
    r"for ever": "forever, permanently",
    r"no machine": "cannot be … automatically",
    r"gone well|goes well": "succeeded",
    r"that which|of whom|of which some": "a plain relative clause",
    r"ought": "should",
    r"unhurried": "queued",
    r"sees? it through": "completes",
}
#: Where a word stands for something else. Path and word, with the reason.
ALLOWED: dict[tuple[str, str], str] = {
    ("CHANGELOG.md", "deeds"): "the old name of a field",
    ("CHANGELOG.md", "greet"): "the old name of an activity",
}
#: Public names that several modules have, with the reason.
TWINS = {
    "resolve": "the function of a CLI command is named as the command is typed; mesh/kyma resolves a target",
}


@cache
def _tracked() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file())


def _python() -> Iterator[Path]:
    return (path for path in _tracked() if path.suffix == ".py" and path != _THIS and not path.name.endswith("_pb2.py"))


def _documents() -> Iterator[Path]:
    return (path for path in _tracked() if path.suffix in (".md", ".yaml", ".j2") or path.name == "Makefile")


@cache
def _tokens(path: Path) -> tuple[tokenize.TokenInfo, ...]:
    return tuple(tokenize.generate_tokens(io.StringIO((ROOT / path).read_text(encoding="utf-8")).readline))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def _parts(name: str) -> list[str]:
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _report(found: list[str]) -> str:
    return "\n".join(found)


def test_identifiers_are_words_of_the_field() -> None:
    found = []
    for path in _python():
        for token in _tokens(path):
            if token.type != tokenize.NAME:
                continue
            words = [part for part in _parts(token.string) if part in IDENTIFIERS]
            words += [token.string] if token.string in NAMES else []
            found += [
                f"{path}:{token.start[0]}: {token.string}: say {IDENTIFIERS.get(word) or NAMES[word]}"
                for word in words
                if (str(path), word) not in ALLOWED
            ]

    assert not found, _report(found)


def test_definitions_have_names_of_the_field() -> None:
    found = [
        f"{path}:{name.start[0]}: {name.string}: say {DEFINITIONS[name.string]}"
        for path in _python()
        for keyword, name in pairwise(_tokens(path))
        if keyword.string in ("def", "class") and name.string in DEFINITIONS
    ]

    assert not found, _report(found)


_PHRASES = {re.compile(rf"(?<![\w-])(?:{phrase})(?![\w-])", re.IGNORECASE): say for phrase, say in PHRASES.items()}


_ANY_PHRASE = re.compile("|".join(pattern.pattern for pattern in _PHRASES), re.IGNORECASE)


def _phrases(path: Path, text: str, line: int) -> Iterator[str]:
    # A sentence may be broken between two lines.
    flat = re.sub(r"\s*\n\s*(#:?\s?)?", "\n", text) if "\n" in text else text
    if not _ANY_PHRASE.search(flat.replace("\n", " ")):
        return
    for pattern, say in _PHRASES.items():
        for match in pattern.finditer(flat.replace("\n", " ")):
            if (str(path), match[0].lower()) not in ALLOWED:
                yield f"{path}:{line + flat[: match.start()].count(chr(10))}: {match[0]}: say {say}"


_TEXTS = {tokenize.COMMENT, tokenize.STRING} | {getattr(tokenize, name, -1) for name in ("FSTRING_MIDDLE",)}


def test_strings_and_comments_are_plain_english() -> None:
    found = [
        line
        for path in _python()
        for token in _tokens(path)
        if token.type in _TEXTS
        for line in _phrases(path, token.string, token.start[0])
    ]

    assert not found, _report(found)


def test_documents_are_plain_english() -> None:
    found = [line for path in _documents() for line in _phrases(path, (ROOT / path).read_text(encoding="utf-8"), 1)]

    assert not found, _report(found)


def test_names_of_tests_are_plain_english() -> None:
    found = [
        f"{path}:{token.start[0]}: {token.string}"
        for path in _python()
        for token in _tokens(path)
        if token.type == tokenize.NAME and token.string.startswith("test_")
        for _ in _phrases(path, token.string.replace("_", " "), 0)
    ]

    assert not found, _report(found)


@cache
def _modules_by_public_name() -> dict[str, list[str]]:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for path in _python():
        if path.parts[0] in PRODUCT:
            for node in _tree(path).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    modules[node.name].append(str(path))
    return modules


def test_public_name_stands_for_one_thing() -> None:
    found = [
        f"{name}: {', '.join(places)}"
        for name, places in _modules_by_public_name().items()
        if len(places) > 1 and not name.startswith("_") and name not in TWINS
    ]

    assert not found, _report(found)


def test_lists_of_exceptions_hold_nothing_that_is_gone() -> None:
    for path, word in ALLOWED:
        assert word in (ROOT / path).read_text(encoding="utf-8").lower(), path
    for name in TWINS:
        assert len(_modules_by_public_name()[name]) > 1, name
