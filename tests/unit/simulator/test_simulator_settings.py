"""Settings that change while the simulator runs."""

from __future__ import annotations

import pytest

from cse_simulator.vendor.settings import Settings, change, to_json


def test_settings_change_under_their_json_names():
    settings = Settings()
    change(settings, {"jobSeconds": 7, "pagingStyle": "page", "quirks": False})
    assert (settings.job_seconds, settings.paging_style, settings.quirks) == (7.0, "page", False)
    assert to_json(settings)["jobSeconds"] == 7.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"jobSeconds": 1, "speed": 2}, "'speed' is unknown"),
        ({"jobSeconds": 1, "pagingStyle": "book"}, "must be one of"),
        ({"jobSeconds": 1, "quirks": "no"}, "must be a bool"),
        ({"jobSeconds": 1, "recordCalls": 5}, "only at the start"),
    ],
)
def test_a_wrong_change_changes_nothing(wrong, words):
    settings = Settings()
    with pytest.raises(ValueError, match=words):
        change(settings, wrong)
    assert settings == Settings()


def test_no_credential_is_shown_among_the_settings():
    shown = to_json(Settings(tokens={"secret": ""}, access_keys={"ak": "secret"}))
    assert "secret" not in repr(shown)
