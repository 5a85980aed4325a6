"""Tests prove the workbook; checks (in grader/checks) grade a learner."""
