"""Hosts of calls: only the administrator's templates decide."""

from __future__ import annotations

import pytest
from huaweicloudsdkcse.v1.region.cse_region import CseRegion
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.cloud.endpoints import EndpointPolicy, EndpointSettingError
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import FailureKind
from support.cloud_calls import fails


def test_the_public_clouds_endpoints_are_the_default() -> None:
    policy = EndpointPolicy()
    assert policy.cse("cn-north-4") == "https://cse.cn-north-4.myhuaweicloud.com"
    assert policy.iam("ap-southeast-3") == "https://iam.ap-southeast-3.myhuaweicloud.com"


@pytest.mark.parametrize(
    "region",
    [
        *("", "cn", "CN-NORTH-4", "cn_north_4", "cn-north-4\n", "cn-north-4.evil.example"),
        *("cn-north-4/", "../cn-north-4", "a@b-c", "cn-north-4#", "cn-nörth-4", "\u0441n-north-4"),
        *("cn--north", "-cn-north", "cn-north-", "cn-" + "n" * 64, "cn-north-4:80", "{region}"),
    ],
)
def test_a_malformed_region_never_becomes_a_host(region: str) -> None:
    with fails(FailureKind.REGION_NOT_ALLOWED) as caught:
        EndpointPolicy().cse(region)
    assert caught.failure.kind is FailureKind.REGION_NOT_ALLOWED


SITES_OF_THE_VENDOR = ("myhuaweicloud.com", "myhuaweicloud.eu")


@given(st.text() | st.from_regex(r"[a-z]{2,}(-[a-z0-9]+)+", fullmatch=True))
def test_any_region_leads_to_the_vendor_or_nowhere(region: str) -> None:
    try:
        url = EndpointPolicy().cse(region)
    except CloudError:
        return
    assert url in {f"https://cse.{region}.{domain}" for domain in SITES_OF_THE_VENDOR}
    assert set(region) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_region_that_is_not_on_the_list_is_refused_with_the_list() -> None:
    policy = EndpointPolicy(allowed_regions=("cn-north-4", "cn-east-3"))
    assert policy.cse("cn-east-3")
    with fails(FailureKind.REGION_NOT_ALLOWED) as caught:
        policy.iam("ap-southeast-3")
    assert "cn-east-3, cn-north-4" in caught.failure.message


def test_each_region_of_the_vendors_sdk_has_the_endpoint_that_the_sdk_names() -> None:
    for region in CseRegion.static_fields.values():
        [endpoint] = region.endpoints
        assert EndpointPolicy().cse(region.id) == endpoint


def test_the_european_site_has_a_domain_of_its_own() -> None:
    policy = EndpointPolicy()
    assert policy.cse("eu-west-101") == "https://cse.eu-west-101.myhuaweicloud.eu"
    assert policy.iam("eu-west-101") == "https://iam.eu-west-101.myhuaweicloud.eu"


def test_a_region_on_no_list_is_refused_with_the_setting_that_adds_it() -> None:
    with fails(FailureKind.REGION_NOT_ALLOWED) as caught:
        EndpointPolicy().cse("cn-north-99")
    assert "cn-north-99 is neither a published region nor in --sites" in caught.failure.message


def test_sites_of_the_settings_come_first_and_in_their_order() -> None:
    sites = ("cn-north-99=new.example", "cn-*=old.example", "eu-west-101=other.example")
    policy = EndpointPolicy(sites=sites)
    assert policy.cse("cn-north-99") == "https://cse.cn-north-99.new.example"
    assert policy.iam("cn-north-98") == "https://iam.cn-north-98.old.example"
    assert policy.cse("cn-north-4") == "https://cse.cn-north-4.old.example"
    assert policy.cse("eu-west-101") == "https://cse.eu-west-101.other.example"
    assert policy.cse("ap-southeast-3") == "https://cse.ap-southeast-3.myhuaweicloud.com"


@pytest.mark.parametrize(
    "site",
    [
        *(
            "",
            "cn-north-4",
            "=example.com",
            "cn-*=",
            "cn-*=https://example.com",
            "cn-*=a b.example",
        ),
        *("CN-*=example.com", "cn-*=example.com/path", "cn-*=localhost", "cn-*=user@example.com"),
        *("cn-*=-example.com", "cn-[a-z]*=example.com", "cn-*=example.com:8443", "cn-*=.example"),
    ],
)
def test_an_unfit_site_is_refused_at_start(site: str) -> None:
    with pytest.raises(EndpointSettingError):
        EndpointPolicy(sites=(site,))


def test_an_allowed_region_without_a_site_is_refused_at_start() -> None:
    with pytest.raises(EndpointSettingError, match="add cn-north-99=DOMAIN to --sites"):
        EndpointPolicy(allowed_regions=("cn-north-4", "cn-north-99"))


def test_what_runs_is_followed_in_any_region_and_its_engines_key_stays_the_endpoint() -> None:
    policy = EndpointPolicy(allowed_regions=("cn-north-4",))
    for region in ("cn-east-3", "cn-north-99"):
        followed = policy.cse(region, following=True)
        assert followed == f"https://cse.{region}.myhuaweicloud.com" == policy.identity_of(region)
        assert policy.iam(region, following=True) == f"https://iam.{region}.myhuaweicloud.com"
    with fails(FailureKind.REGION_NOT_ALLOWED):
        policy.cse("CN_North", following=True)


def test_a_private_cloud_has_templates_of_its_own() -> None:
    policy = EndpointPolicy("https://cse.{region}.cloud.example/", "https://iam.cloud.example:8443")
    assert policy.cse("my-region") == "https://cse.my-region.cloud.example"
    assert policy.iam("my-region") == "https://iam.cloud.example:8443"


@pytest.mark.parametrize(
    "template",
    [
        *("", "cse.example.com", "ftp://cse.example.com", "https://", "http://cse.example.com"),
        *("https://user:pass@cse.example.com", "https://cse.example.com/path"),
        *("https://cse.example.com?a=b", "https://cse.example.com#x", "https://[::1"),
        *("https://127.0.0.1", "https://localhost:8443", "https://a.localhost", "https://[::1]"),
        *("https://169.254.169.254", "https://[fe80::1]", "https://0.0.0.0", "https://127.1"),
        *("https://[::ffff:127.0.0.1]", "https://2130706433", "https://0x7f000001"),
        *("https://localhost.", "https://0x7f.0.0.0x1", "https://017700000001"),
    ],
)
def test_an_unfit_template_is_refused_at_start(template: str) -> None:
    with pytest.raises(EndpointSettingError):
        EndpointPolicy(cse_template=template)
    with pytest.raises(EndpointSettingError):
        EndpointPolicy(iam_template=template)


def test_a_simulator_needs_the_administrators_explicit_word() -> None:
    policy = EndpointPolicy("http://127.0.0.1:8765", "http://127.0.0.1:8765", allow_insecure=True)
    assert policy.cse("cn-north-4") == "http://127.0.0.1:8765"


def test_a_malformed_region_on_the_list_is_refused_at_start() -> None:
    with pytest.raises(EndpointSettingError):
        EndpointPolicy(allowed_regions=("CN North",))
