"""What the proxy image of an injection template depends on, read off the template's text.

The templates are Go templates that make YAML (istio/istio, manifests/charts/istio-control/istio-discovery/files). In
Istio's own the image comes from settings and from annotations. In an edited one it may come from anything: then no two
workloads can be expected to get the same, and the injector is asked about each.
"""

from __future__ import annotations

import re

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_IMAGE = re.compile(r"\bimage:")
_ASSIGNMENT = re.compile(r"(\$\w+)(?:\s*,\s*(\$\w+))?\s*:?=\s*(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$\w+")
_OPENS = ("if ", "with ", "range ", "define ", "block ")
#: What a template may read of the Pod, and of what it belongs to, besides the annotations that are Istio's own.
_OF_THE_POD = re.compile(
    r"\.ObjectMeta\.(?!Annotations\b)|\.Labels\b|\.Spec\b|\.DeploymentMeta\b|\.TypeMeta\b"
    r"|\.Annotations\b(?!\s+[`\"][^`\"]*istio\.io/)|\bannotation\s+\.ObjectMeta\s+(?![`\"][^`\"]*istio\.io/)"
)


def image_is_common(template: str) -> bool:
    """Whether Pods with the same annotations of Istio get the same proxy image from this template.

    False is the careful answer: also for images inside of `define`, which may be used anywhere.
    """
    variables: dict[str, str] = {}
    deciding: list[str] = []
    enclosing: list[str] = []
    position = 0
    for action in _ACTION.finditer(template):
        if _IMAGE.search(template, position, action.start()):
            deciding += enclosing
            line_end = template.find("\n", action.start())
            if "\n" not in template[_last_image(template, position, action.start()) : action.start()]:
                deciding += _ACTION.findall(template[action.start() : line_end if line_end >= 0 else None])
        position = action.end()
        _follow(action[1], enclosing, variables)
    if _IMAGE.search(template, position):
        deciding += enclosing
    return not any(_reads_the_pod(action, variables) for action in deciding)


def _last_image(template: str, start: int, end: int) -> int:
    return max(found.start() for found in _IMAGE.finditer(template, start, end))


def _follow(action: str, enclosing: list[str], variables: dict[str, str]) -> None:
    """Keeps the blocks that are open, and what each variable was made from, conditions included."""
    if assigned := _ASSIGNMENT.search(action):
        source = " ".join([assigned[3], *enclosing])
        for name in filter(None, assigned.group(1, 2)):
            variables[name] = f"{variables.get(name, '')} {source}"
    if action.startswith(_OPENS):
        enclosing.append(action)
    elif action.startswith("else") and enclosing:
        # The branches before this one decide as well.
        enclosing[-1] += f" {action}"
    elif action == "end" and enclosing:
        enclosing.pop()


def _reads_the_pod(action: str, variables: dict[str, str]) -> bool:
    seen: set[str] = set()
    waiting = [action]
    while waiting:
        text = waiting.pop()
        if _OF_THE_POD.search(text) or text.startswith("define "):
            return True
        fresh = set(_VARIABLE.findall(text)) - seen
        seen |= fresh
        waiting += [variables[name] for name in fresh if name in variables]
    return False
