"""Questions to the API server, and invalid answers."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from cse_operator.cli.cluster_checks import check_cluster, check_definition
from cse_operator.cli.report import Mark
from cse_operator.kube import errors
from cse_operator.kube.questions import ask
from support.api_server_stub import Answer, api_server_stub, hang_up, refusal, reply


async def test_an_answer_need_not_be_a_stored_object(tmp_path: Path) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        server.answers = [reply(body={"gitVersion": "v1.37.2"})]
        assert await ask(client, "GET", "/version") == {"gitVersion": "v1.37.2"}
        assert server.asked[0].headers["authorization"] == "Bearer token-of-the-test"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply(text="<html>a proxy's page</html>"), errors.Unavailable, "is not JSON"),
        (reply(body=[1]), errors.Unavailable, "is not a JSON object"),
        (refusal(403, "Forbidden", "may not"), errors.Denied, "may not"),
        (hang_up, errors.Unavailable, "cannot be reached"),
    ],
)
async def test_what_is_no_answer_is_an_error_by_its_meaning(
    tmp_path: Path, answer: Answer, kind: type[errors.KubeError], words: str
) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        server.otherwise = answer
        with pytest.raises(kind, match=words) as caught:
            await ask(client, "GET", "/version")
    told = "".join(traceback.format_exception(caught.value))
    assert "token-of-the-test" not in told


async def test_a_cluster_too_old_to_name_its_user_is_no_problem(tmp_path: Path) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        server.answers = [
            reply(body={"gitVersion": "v1.27.0"}),
            reply(404, text="404 page not found"),
        ]
        finding = await check_cluster(client)
    assert finding.mark is Mark.OK
    assert "v1.27.0" in finding.sentence


async def test_a_schema_that_is_not_published_does_not_pass_for_the_right_one(
    tmp_path: Path,
) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        server.answers = [reply(body={"components": {"schemas": {}}})]
        finding, installed = await check_definition(client)
        server.answers = [refusal(403, "Forbidden")]
        refused, assumed = await check_definition(client)
    assert (finding.mark, installed) == (Mark.PROBLEM, True)
    assert "it differs in spec, status" in finding.sentence
    assert (refused.mark, assumed) == (Mark.PROBLEM, True)
