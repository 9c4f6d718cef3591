"""A story for each reason why a workload cannot be restarted: how it comes about, and how an operator fixes it."""

from tests.e2e.reasons import injection, owners, pods, rollouts
from tests.e2e.reasons.place import Place, Story
from tests.e2e.reasons.pods import TERMINATING

__all__ = ["STORIES", "TERMINATING", "Place", "Story"]

STORIES = (*owners.STORIES, *injection.STORIES, *pods.STORIES, *rollouts.STORIES)
