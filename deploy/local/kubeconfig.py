"""Kubeconfig files: the mesh's own, and the user's file that `up --kubeconfig` adds the mesh to and `down` cleans."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]

_SECTIONS = ("clusters", "contexts", "users")


def compose(name: str, server: str, *, ca: bytes, certificate: bytes, key: bytes) -> Config:
    """A kubeconfig with one context called `name` and everything embedded, so that the file can travel alone."""
    encode = {"ca": ca, "certificate": certificate, "key": key}
    data = {what: base64.b64encode(content).decode() for what, content in encode.items()}
    # On the loopback nothing is gained by compressing answers; kubectl heeds this as well.
    cluster = {"server": server, "certificate-authority-data": data["ca"], "disable-compression": True}
    user = {"client-certificate-data": data["certificate"], "client-key-data": data["key"]}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": user}],
    }


def add(file: Path, config: Config) -> None:
    """Adds the entries of `config` to a file, in place of those with the same names, and makes its context current."""
    there = _read(file)
    merged = _without(there, config["current-context"]) | {"current-context": config["current-context"]}
    for section in _SECTIONS:
        merged[section] = [*merged.get(section, []), *config[section]]
    _write(file, {"apiVersion": "v1", "kind": "Config"} | merged)


def remove(file: Path, name: str) -> None:
    """Takes the entries called `name` out of a file; a file that is then empty goes too."""
    if not file.exists():
        return
    rest = _without(_read(file), name)
    if any(rest.get(section) for section in _SECTIONS):
        _write(file, rest)
    else:
        file.unlink()


def _without(config: Config, name: str) -> Config:
    rest = dict(config)
    for section in _SECTIONS:
        rest[section] = [entry for entry in config.get(section) or [] if entry["name"] != name]
    if rest.get("current-context") == name:
        rest["current-context"] = ""
    return rest


def _read(file: Path) -> Config:
    return (yaml.safe_load(file.read_text()) or {}) if file.exists() else {}


def _write(file: Path, config: Config) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.draft")
    draft.touch(mode=0o600)
    draft.write_text(yaml.safe_dump(config, sort_keys=False))
    draft.replace(file)
