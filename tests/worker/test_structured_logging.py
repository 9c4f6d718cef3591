import json
import logging
from collections.abc import Iterator

import pytest

from worker.settings import WorkerSettings
from worker.structured_logging import configure_logging


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_event_is_one_json_line_with_our_fields_and_temporals_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(WorkerSettings(log_format="json"))

    context = {"workflow_id": "upgrade:one", "attempt": 2, "secret": "not ours"}
    logging.getLogger("activities").info(
        "workload_restarted", extra={"fields": {"workload": "shop/cart"}, "temporal_activity": context}
    )

    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "workload_restarted",
        "level": "info",
        "logger": "activities",
        "workload": "shop/cart",
        "workflow_id": "upgrade:one",
        "attempt": 2,
    }


def test_exception_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(WorkerSettings(log_format="json"))

    try:
        int("why")
    except ValueError:
        logging.getLogger("x").exception("failed")

    line = json.loads(capsys.readouterr().err)
    assert "ValueError: invalid literal" in line["exception"]


def test_less_severe_lines_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(WorkerSettings(log_format="text", log_level="warning"))

    logging.getLogger("x").info("quiet")

    assert capsys.readouterr().err == ""
