"""Choices of options are repeated in the commands; each list equals the one it repeats."""

from cli.actions import write_report
from cli.commands.report import FORMATS
from cli.commands.scan import CLASSES, DRIFTED
from cli.options import ITEM_STATES
from cli.render import scan_document
from mesh.remediation.item import ItemState
from mesh.survey.pod_class import PodClass


def test_scan_offers_every_class() -> None:
    assert set(CLASSES) == set(PodClass)
    assert DRIFTED == scan_document.DRIFTED


def test_queue_offers_every_state() -> None:
    assert tuple(ItemState) == ITEM_STATES


def test_report_offers_every_format() -> None:
    assert tuple(write_report.FORMATS) == FORMATS
