"""Errors that end a run with one line for the operator, and text from outside made safe for terminals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

SHOWN = 200
# The code of an answer that is not one of the operation asked for.
UNREADABLE = "Unreadable"
# Terminals interpret control and format characters, such as those that reverse the direction of text; lone surrogates
# cannot be encoded; line and paragraph separators end a line.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    r"""Text from outside made safe for a terminal: control characters become escapes such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _UNPRINTABLE else each for each in text
    )


def _sentence(text: str) -> str:
    return printable(" ".join(text.split()))


def one_line(value: object) -> str:
    """A value from outside, as an error shows it: one line, text in quotes, cut if long."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"


def listed(names: Sequence[str], most: int) -> str:
    """At most so many names, in one line."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def many(count: int, thing: str) -> str:
    """As in `1 client` and `2 clients`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time for people, in whole seconds; a short one is not shown as 0."""
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "less than 1 s"


def unforeseen(error: Exception) -> str:
    """The message for an unexpected error."""
    found = _sentence(f"{type(error).__name__}: {error}")[:SHOWN]
    return (
        f"run: unexpected {found}; no further client is disconnected: correct what it names, such as the program that "
        "provides credentials, then run again; the journal has the traceback"
    )


class SwitchError(Exception):
    """A problem and its remedy, in one printable line, even where it quotes text from outside."""

    def __init__(self, message: str) -> None:
        super().__init__(_sentence(message))


class RefusedError(SwitchError):
    """The move would go wrong; nothing was changed."""


def unreadable(operation: str, answer: object, expected: str) -> SwitchError:
    """The error for an answer that does not belong to its operation."""
    return SwitchError(
        f"{operation}: found {one_line(answer)} answered, expected {expected}: check AWS_ENDPOINT_URL, then run again"
    )


class RecordsChangedError(RefusedError):
    """Someone else changed the records since they were read or switched; nothing was overwritten.

    Attributes:
        found: the current records, as far as they are known: `{name: host name}`, None where there is none.
    """

    def __init__(self, message: str, found: Mapping[str, str | None] | None = None) -> None:
        super().__init__(message)
        self.found = dict(found or {})


class UnfinishedError(SwitchError):
    """A run ended early; the same command resumes it."""


class RolledBackError(SwitchError):
    """A move failed and was rolled back: its records are restored."""


class NotConvergedError(UnfinishedError):
    """A server did not answer as expected within the time limit."""


class AwsError(SwitchError):
    """A request that AWS did not fulfil.

    Attributes:
        operation: AWS's name, such as `DeleteConnection`.
        code: AWS's error code, `NoAnswer` when none came, or UNREADABLE.
        status: HTTP status, 0 when no answer came.
        text: AWS's own words, on one line.
        advice: the remedy.
    """

    def __init__(self, operation: str, region: str, code: str, status: int, message: str) -> None:
        self.operation = operation
        self.region = region
        self.code = code
        self.status = status
        self.text = _sentence(message).rstrip(".")
        self.advice = _advice(self)
        super().__init__(f"{operation} in {region}: found {code} ({self.text}), expected success: {self.advice}")

    @property
    def not_found(self) -> bool:
        return self.code in _NOT_FOUND

    @property
    def credentials(self) -> bool:
        """Whether AWS rejects the caller's credentials or signature, whatever the request."""
        return self.wrong_clock or self.code in _UNUSABLE | _SIGNATURE

    @property
    def throttled(self) -> bool:
        return self.status == 429 or self.code in _THROTTLED

    @property
    def denied(self) -> bool:
        return self.credentials or self.status in (401, 403) or self.code in _DENIED

    @property
    def action(self) -> str:
        """The IAM action that the caller is not allowed, from AWS's text; the data plane of IoT does not name it."""
        found = _NOT_AUTHORIZED.search(self.text)
        return found["action"] if found else _ACTIONS.get(self.operation, self.operation)

    @property
    def forbidden(self) -> bool:
        """Whether AWS knows the caller and does not allow it this request."""
        return self.denied and not self.credentials

    @property
    def wrong_clock(self) -> bool:
        """Whether AWS says that this machine's clock is wrong."""
        words = self.text.lower()
        spoken = any(each in words for each in _TIME_WORDS)
        return self.code in _CLOCK or (spoken and (self.code in _SIGNATURE or self.status in (401, 403)))

    @property
    def unreadable(self) -> bool:
        """Whether the answer was not one to the request, such as a proxy's page."""
        return self.code == UNREADABLE

    @property
    def uncertain(self) -> bool:
        """Whether AWS may have carried out the request nevertheless."""
        return self.unreadable or (self.status == 0 and not self.credentials) or self.status >= 500

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later (no answer to it, or the server's own failure)."""
        return self.throttled or self.uncertain


class CredentialsError(AwsError):
    """There are no credentials, or they could not be read or renewed: nothing was sent to AWS.

    Args:
        profile: the profile of the AWS configuration in use, empty where none is named.
        found: the problem.
    """

    def __init__(self, profile: str, found: str, advice: str) -> None:
        self.operation, self.region, self.code, self.status = "", "", NO_CREDENTIALS, 0
        self.text, self.advice = _sentence(found).rstrip("."), advice
        whose = f" of profile {profile}" if profile else ""
        SwitchError.__init__(self, f"AWS credentials{whose}: found {self.text}, expected usable ones: {advice}")


NO_CREDENTIALS = "NoCredentials"
# Route 53's control plane is in us-east-1 whatever the regions of a fleet are:
# https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/global-services.html
ROUTE53 = {"ChangeResourceRecordSets", "GetHostedZone", "ListResourceRecordSetProtections", "ListResourceRecordSets"}
_NOT_FOUND = {"ResourceNotFoundException", "NoSuchHostedZone", "NoSuchChange"}
_THROTTLED = {"Throttling", "ThrottlingException", "TooManyRequestsException", "PriorRequestNotComplete"}
# AWS's codes for credentials (https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html, and for
# services with other names https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_UNKNOWN = {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "InvalidToken", "AuthFailure"}
_UNUSABLE = {NO_CREDENTIALS, "MissingAuthenticationToken", "MissingAuthenticationTokenException", *_EXPIRED, *_UNKNOWN}
# The same codes mean a signature with a wrong time or with a wrong secret key:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html
_SIGNATURE = {
    *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "IncompleteSignatureException"),
}
_CLOCK = {"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}
_TIME_WORDS = ("signature expired", "not yet current", "request has expired", "too skewed", "between the request time")


# Services with the JSON 1.1 protocol, such as ACM, answer 400 with these codes.
_DENIED = {
    *("AccessDenied", "AccessDeniedException", "ForbiddenException", "NotAuthorized", "UnauthorizedException"),
}
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_NOT_AUTHORIZED = re.compile(r"not authorized to perform: (?P<action>[\w-]+:\w+)")
_EXPLICIT = "with an explicit deny in a"
_ACTIONS = {"DeleteConnection": "iot:DeleteConnection", "GetConnection": "iot:GetConnection"}
# Enabled in every account; an account has to opt in to any other region, where its keys are unknown until then:
# https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html
_ALWAYS_ENABLED = {
    *("ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
    *("ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1"),
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2"),
}
# Regions of other partitions, such as cn-north-1 and us-gov-west-1, need no opt-in.
_OPTED_IN_TO = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-\d")


def _advice(error: AwsError) -> str:
    if error.credentials:
        return _advice_on_credentials(error)
    if error.denied:
        return _advice_on_permission(error)
    if error.throttled:
        return "run again when other callers of this quota are done"
    if error.unreadable:
        return "check AWS_ENDPOINT_URL and proxies on the way, then run again"
    if error.status == 0:
        return "check network, credentials and AWS_ENDPOINT_URL, then run again"
    if error.status >= 500 and error.operation in ROUTE53:
        return "run again; records are changed in us-east-1 alone: see the AWS Health Dashboard for it if it stays"
    if error.status >= 500:
        return "run again; see the AWS Health Dashboard if it stays"
    return "correct what the message names, then run again"


def _advice_on_credentials(error: AwsError) -> str:
    if error.wrong_clock:
        return "set this machine's clock, as NTP does, then run again"
    if error.code in _SIGNATURE:
        return "check this machine's clock and the secret access key, then run again"
    if error.code in _EXPIRED:
        return "log in again (aws sso login, or what gave you these credentials), then run again"
    if error.code in _UNKNOWN:
        return _advice_on_unknown(error.region)
    return "name a profile in AWS_PROFILE, or log in, then run again"


def _advice_on_unknown(region: str) -> str:
    """The remedy for keys that AWS does not know, in one region or in all."""
    if _OPTED_IN_TO.fullmatch(region) and region not in _ALWAYS_ENABLED:
        return (
            f"enable {region} for the account (Account, AWS Regions; it takes minutes to hours), or, if it is enabled, "
            "use valid credentials, then run again"
        )
    return "use valid credentials: these keys are deleted, inactive or of another partition; then run again"


def _advice_on_permission(error: AwsError) -> str:
    if _EXPLICIT in error.text:
        return f"remove what denies {error.action} (allowing it elsewhere does not help), or use other credentials"
    return (
        f"allow the caller {error.action} in IAM (playbooks/iam_policies.yml writes the policy), or use other "
        "credentials"
    )


class StorageError(SwitchError):
    """A file of a run's report could not be written: its disk is full, read-only or damaged."""
