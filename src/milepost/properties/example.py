"""A record as one looks in practice, for the documentation."""

from typing import Any

RECORD_EXAMPLE: dict[str, Any] = {
    "userId": "marco.lindqvist",
    "guidedChecklist": {
        "track": "A",
        "roles": ["dispatcher"],
        "productInterests": ["routing", "telematics"],
        "steps": [
            {
                "stepId": "connect-vehicles",
                "title": "Connect your vehicles",
                "description": "Pair the first tracker, so that the map fills by itself.",
                "ctaLabel": "Pair a tracker",
                "ctaRoute": "/fleet/trackers/new",
                "status": "UP_NEXT",
                "sortOrder": 10,
                "sourceRoles": ["dispatcher", "fleet-manager"],
            },
            {
                "stepId": "complete-profile",
                "title": "Complete your profile",
                "description": "A name and a picture help colleagues to find you.",
                "ctaLabel": "Open profile",
                "ctaRoute": "/me",
                "status": "COMPLETED",
                "sortOrder": 20,
                "completedAt": "2026-03-02T09:30:00Z",
            },
        ],
        "computedAt": "2026-03-02T08:00:00Z",
    },
    "firstLoginState": {"roleIdentification": "operational", "delegationFlowCompleted": False},
    "attributes": {"locale": "sv-SE", "seats": 12},
    "createdDate": "2026-03-02T08:00:00Z",
    "modifiedDate": "2026-03-02T09:30:00Z",
}
