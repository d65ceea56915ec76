"""The OpenFeature provider: flags that are followed live, behind the vendor-neutral evaluation API.

    from openfeature import api
    from sdk_client.openfeature import FlagstreamProvider

    api.set_provider(FlagstreamProvider(environment_key="…", api_url="https://flags.example.com"))

It needs the extra ``flagstream[openfeature]``, the official SDK; the rest of `sdk_client` never imports this package.
"""

from sdk_client.openfeature.provider import FlagstreamProvider

__all__ = ["FlagstreamProvider"]
