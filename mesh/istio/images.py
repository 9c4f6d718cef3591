"""References to proxy images: `<hub>/<name>:<tag>[@sha256:…]`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from mesh.istio.versions import Version, version_of_tag


@dataclass(frozen=True, slots=True)
class Image:
    """An image reference in parts; `tag` and `digest` are empty where the reference has none."""

    repository: str
    tag: str
    digest: str

    @property
    def version(self) -> Version | None:
        """The Istio version in the tag; None when the tag names none or there is only a digest."""
        return version_of_tag(self.tag)

    @property
    def is_immutable(self) -> bool:
        """Whether the reference always names the same content: it has a digest, or its tag names a version."""
        return bool(self.digest) or self.version is not None


@lru_cache(maxsize=4096)
def parse_image(reference: str) -> Image:
    """Splits an image reference; the tag is what follows the last `:` after the last `/`."""
    name, _, digest = reference.partition("@")
    head, slash, last = name.rpartition("/")
    before, colon, after = last.rpartition(":")
    last, tag = (before, after) if colon else (last, "")
    return Image(repository=head + slash + last, tag=tag, digest=digest)
