"""The track by a feature flag: any OpenFeature provider decides, in a thread, and for a bounded time.

A provider may ask a service far away. So it is asked before the transaction of initialize, and never in it.
"""

import asyncio
import logging
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import structlog
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import FeatureProvider

from milepost.domain.tracks import Decision, FlagAnswer, Joining, by_flag
from milepost.settings import Settings, SettingsError, variable

log = structlog.get_logger(__name__)

DOMAIN = "milepost"
SECONDS = 2
"""How long a provider may take to decide, and at the start to get ready."""

THREADS = 8


class TrackFlag:
    """The flag that names a track, and the provider that knows it."""

    def __init__(self, provider: FeatureProvider, key: str) -> None:
        self._provider = provider
        self._key = key
        self._client = api.get_client(DOMAIN)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="track-flag")
        # The SDK logs what a provider raises, and that may name a person.
        logging.getLogger("openfeature").disabled = True

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """The flag that the settings name; None where tracks are decided in another way.

        Raises:
            SettingsError: the provider cannot be made.
        """
        if settings.track != "openfeature" or settings.track_provider is None:
            return None
        return cls(_made(settings.track_provider), settings.track_flag)

    async def start(self) -> None:
        """Let the provider get ready. One that is late or fails is no reason not to start: the other rule decides."""
        getting_ready = asyncio.get_running_loop().run_in_executor(
            self._threads, api.set_provider_and_wait, self._provider, DOMAIN
        )
        failure = await _failure(getting_ready)
        if failure is not None:
            log.warning("track_flag.provider_not_ready", reason=failure)

    async def decide(self, joining: Joining) -> Decision:
        """The track that the flag names for a user, or that of their memberships, and why."""
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._answer, joining)
        failure = await _failure(asked)
        answer = asked.result() if failure is None else FlagAnswer(failure=failure)
        decision = by_flag(joining, self._key, answer)
        if decision.strategy != "openfeature":
            log.warning("track_flag.not_used", flag=self._key, reason=answer.failure or "its value is no track")
        return decision

    def _answer(self, joining: Joining) -> FlagAnswer:
        context = EvaluationContext(
            joining.user_id,
            {
                "orgId": joining.org_id,
                "enterpriseId": joining.enterprise_id,
                "priorEnterprises": len(joining.prior_enterprises),
                "isExisting": bool(joining.prior_enterprises),
            },
        )
        details = self._client.get_string_details(self._key, "", context)
        if details.error_code is not None:
            return FlagAnswer(failure=details.error_code.value)
        return FlagAnswer(details.value, str(details.reason or "no reason given"))

    async def close(self) -> None:
        """Let the provider go, and wait for none that does not end."""
        await _failure(asyncio.get_running_loop().run_in_executor(self._threads, api.shutdown))
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _failure(work: "asyncio.Future[Any]") -> str | None:
    """Why a provider's work came to no good end in time; None where it did."""
    await asyncio.wait({work}, timeout=SECONDS)
    if not work.done():
        work.cancel()
        return f"no answer within {SECONDS} seconds"
    error = work.exception()
    return None if error is None else type(error).__name__


def _made(name: str) -> FeatureProvider:
    setting = variable("track_provider")
    try:
        provider: FeatureProvider = pkgutil.resolve_name(name)()
    except Exception as error:
        # It is the operator's own code, which may raise anything; whatever it is, the setting cannot be used.
        raise SettingsError(
            f"{setting}: {name} makes no provider ({type(error).__name__}: {error}); it takes package.module:callable, "
            "and the module must be found on PYTHONPATH"
        ) from error
    if not callable(getattr(provider, "resolve_string_details", None)):
        raise SettingsError(f"{setting}: {name} answers a {type(provider).__name__}, and not an OpenFeature provider")
    return provider
