"""Lists that the command line spells out, against those they stand for."""

from cli import documents
from cli.queue import STATES
from cli.scan import CLASSES, DRIFTED
from mesh.classes import PodClass
from mesh.items import ItemState


def test_scan_offers_every_class() -> None:
    assert set(CLASSES) == set(PodClass)
    assert DRIFTED == documents.DRIFTED


def test_queue_offers_every_state() -> None:
    assert tuple(ItemState) == STATES
