"""Lists that the command line spells out, against those they stand for."""

from cli.commands.queue import STATES
from cli.commands.scan import CLASSES, DRIFTED
from cli.render import documents
from mesh.remediation.item import ItemState
from mesh.survey.pod_class import PodClass


def test_scan_offers_every_class() -> None:
    assert set(CLASSES) == set(PodClass)
    assert DRIFTED == documents.DRIFTED


def test_queue_offers_every_state() -> None:
    assert tuple(ItemState) == STATES
