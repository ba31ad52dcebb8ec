"""What the adapter makes of each recording of the real gateway."""

from typing import Any

LABEL = "provider player.example.org"

# What `logs` gives: the lines, or how it fails.
THREE = ["line 1", "line 2", "line 3"]
_NOT_UP = f"Unavailable: {LABEL} has nothing to show of the job: its container is not up"
_NO_PODS = f"Unavailable: {LABEL} has nothing to show of the job: no running pods"
_AWAY = f"Unavailable: {LABEL} cannot reach its cluster now"
_GONE = f"LeaseLost: {LABEL} knows nothing of the lease"
CLAIMS = (
    f"Unavailable: {LABEL} refuses the Console's token: JWT has invalid claims "
    "(its clock may be wrong by minutes)"
)
NO_SCOPE = f"Unavailable: {LABEL} refuses the Console's token: unauthorized access"
_INVALID = f"Unavailable: {LABEL} refuses the Console's token: JWT is invalid"
_X = "x"
LOGS: dict[str, Any] = {
    "logs-client-closes": ["line 1"],
    "logs-container-creating": _NOT_UP,
    "logs-finished": THREE,
    "logs-finished-follow": THREE,
    "logs-idle-no-pong": ["line 1", "line 2"],
    "logs-idle-ping": ["line 1", "line 2"],
    "logs-image-pull-backoff": _NOT_UP,
    "logs-kube-breaks": ["line 1", "line 2"],
    "logs-kube-plain-503": _NOT_UP,
    "logs-kube-reset": _AWAY,
    "logs-line-200000": ["before"],
    "logs-line-65534": ["before", _X * 65534, "after"],
    "logs-line-65535": ["before", _X * 65535, "after"],
    "logs-line-65536": ["before"],
    "logs-lines-fragmented": ["x" * 900, "y" * 1000, "z" * 1500, "w" * 5000],
    "logs-live-follow": [*THREE, "line 4", "line 5", "no newline at the end"],
    "logs-live-nofollow": ["line 1", "line 2"],
    "logs-no-lease": _GONE,
    "logs-no-parameters": THREE,
    "logs-no-pods": _NO_PODS,
    "logs-no-token": NO_SCOPE,
    "logs-odd-bytes": [
        '<a href="x">&</a>',
        "bad \ufffd\ufffd utf-8",
        "",
        "crlf",
        "progress 1\rprogress 2",
        "tab\tand \x1b[31mred\x1b[0m and \0 nul",
        "\u2028é😀",
        "last without newline",
    ],
    "logs-service-list": ["line 1", "line 2"] * 2,
    "logs-service-unknown": _NO_PODS,
    "logs-tail-0": [],
    "logs-tail-2": ["line 2", "line 3"],
    "logs-tail-minus-1": THREE,
    "logs-token-runs-out": ["line 1", "line 2"],
    "logs-two-services": ["line 1", "line 2"] * 2,
    # The same middleware stands before every path.
    "auth-bad-header": f"Unavailable: {LABEL} answers with 400: invalid authorization header",
    "auth-none": NO_SCOPE,
    "auth-public-path-expired": CLAIMS,
    "auth-status-expired": CLAIMS,
    "auth-status-logs": NO_SCOPE,
    "auth-status-not-yet-valid": CLAIMS,
    "auth-status-other-owner": _GONE,
    "auth-status-other-provider": NO_SCOPE,
    "auth-status-unknown-account": _INVALID,
    "auth-status-version-v2": CLAIMS,
    "auth-status-wrong-signature": _INVALID,
}

# What `events` gives: the reasons of those that concern the job, or how it fails. In the
# recordings the service is `web`, so its name stands in place of the job's.
_PULLING = ["Scheduled", "Pulling", "Failed", "BackOff"]
EVENTS: dict[str, Any] = {
    "events-all": _PULLING,
    "events-client-closes": _PULLING[:3],
    "events-kube-down": _AWAY,
    "events-no-lease": _GONE,
    "events-none": [],
    "events-service-labelled": ["Started"],
    "events-token-without-scope": NO_SCOPE,
}

# What `execute` gives for a command whose own words are in none of these: nothing but trouble,
# whatever code the gateway tells.
_DID_NOT = f"NotProven: a command in the container did not run at {LABEL}"
_REMOTE = f"{_DID_NOT}: remote command execute error: "
SHELLS: dict[str, str] = {
    "shell-bytes": _DID_NOT,
    "shell-client-closes": _DID_NOT,
    "shell-command-not-found": f"{_REMOTE}command could not be executed because it does not exist",
    "shell-exit-0": _DID_NOT,
    "shell-exit-7": _DID_NOT,
    "shell-no-lease": _DID_NOT,
    "shell-no-manifest": _DID_NOT,
    "shell-no-pods": f"{_REMOTE}service with that name is not running",
    "shell-no-ready-replica": f"{_DID_NOT}: no active replicase for service",
    "shell-output-100k": _DID_NOT,
    "shell-pod-failed": (f"{_REMOTE}service with that name is not running: the service has failed"),
    "shell-pod-gone": f"{_DID_NOT}: the provider could not start it, or lost sight of it",
    "shell-pod-index": f"{_REMOTE}pod index out of range: valid range is [0, 0]",
    "shell-runtime-error": f"{_REMOTE}command execution failed",
    "shell-silent": _DID_NOT,
    "shell-slow": _DID_NOT,
    "shell-stdin": _DID_NOT,
    "shell-token-without-scope": NO_SCOPE,
    "shell-tty": _DID_NOT,
    "shell-unknown-service": f"{_DID_NOT}: kube: no service for that lease",
}

# What the Console hands on of a provider's status: whether the job's container is up, and where
# its ports are.
STATUSES: dict[str, tuple[bool, list[tuple[str, int, int]]]] = {
    "status-forwarded-port": (True, [("provider.example.org", 8443, 31544)]),
    "status-no-replica-yet": (False, []),
    "status-not-ready": (False, []),
    "status-ready": (True, []),
    "status-statefulset": (False, []),
}

NOT_SENT = {
    "address": "the address of a provider is known from the chain",
    "logs-follow-text": "`follow` is always true or false",
    "logs-service-trailing-comma": "there is one service",
    "logs-tail-text": "`tail` is always a number",
    "logs-without-upgrade": "logs are always asked for over WebSocket",
    "manifest-get-no-lease": "the adapter keeps what it sent",
    **dict.fromkeys(
        (
            "manifest-put-bad-service-name",
            "manifest-put-empty-list",
            "manifest-put-no-global-service",
            "manifest-put-no-lease",
            "manifest-put-not-json",
            "manifest-put-ok",
            "manifest-put-other-hash",
            "manifest-put-token-without-scope",
            "manifest-put-unknown-deployment",
            "manifest-put-wrong-type",
        ),
        "the Console sends manifests",
    ),
    **dict.fromkeys(
        (
            "service-status-no-lease",
            "service-status-ready",
            "service-status-token-without-scope",
            "service-status-unknown-service",
        ),
        "the status of a lease has that of its one service",
    ),
    **dict.fromkeys(
        ("shell-without-podIndex", "shell-without-service", "shell-without-stdin"),
        "all parameters are always sent",
    ),
    "shell-without-tty": "all parameters are always sent",
    **dict.fromkeys(
        (
            "status-kube-plain-503",
            "status-kube-reset",
            "status-namespace-gone",
            "status-no-deployments",
            "status-no-manifest",
        ),
        "the Console asks, and has null in place of these answers",
    ),
    "status-bad-dseq": "a deployment's number is one",
    "unknown-path": "no such path is asked for",
}
