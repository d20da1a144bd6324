//! The routes for operators and balancers: health, what becomes of versions, workers, nodes, keys.

use super::notation::{GET, Gives, Operation, Route, Takes};

const HEAD: Operation = Operation { method: "HEAD", gives: &[(200, Gives::Nothing)], ..GET };
const POST: Operation = Operation { method: "POST", ..GET };

pub(super) const HEALTH: &[Route] = &[
    (
        "/health",
        "health",
        &[
            Operation {
                summary: "This process lives, and how it fares",
                gives: &[(200, Gives::Json("Health"))],
                ..GET
            },
            Operation { summary: "This process lives", ..HEAD },
        ],
    ),
    (
        "/health/live",
        "health",
        &[
            Operation { summary: "This process answers", gives: &[(200, Gives::Json("Live"))], ..GET },
            Operation { summary: "This process answers", ..HEAD },
        ],
    ),
    (
        "/health/ready",
        "health",
        &[
            Operation { summary: "Whether clients should be sent here", gives: &[(200, Gives::Json("Ready"))], ..GET },
            Operation { summary: "Whether clients should be sent here", ..HEAD },
        ],
    ),
    (
        "/metrics",
        "health",
        &[
            Operation { summary: "Metrics for Prometheus", gives: &[(200, Gives::Text("text/plain"))], ..GET },
            Operation { summary: "Metrics for Prometheus", ..HEAD },
        ],
    ),
    ("/openapi.json", "health", &[Operation { summary: "This document", gives: &[(200, Gives::Json("any"))], ..GET }]),
    (
        "/system/health",
        "health",
        &[
            Operation { summary: "How the cluster fares", gives: &[(200, Gives::Json("SystemHealth"))], ..GET },
            Operation { summary: "How the cluster fares", ..HEAD },
        ],
    ),
    (
        "/system/nodes",
        "health",
        &[
            Operation { summary: "How each node fares", gives: &[(200, Gives::Json("NodeReports"))], ..GET },
            Operation { summary: "How each node fares", ..HEAD },
        ],
    ),
    (
        "/node_status",
        "health",
        &[Operation {
            summary: "Each node's URL, and whether it is healthy",
            gives: &[(200, Gives::Json("{healthy/unhealthy}"))],
            ..GET
        }],
    ),
    (
        "/storage_usage",
        "health",
        &[Operation { summary: "Bytes that live shards take", gives: &[(200, Gives::Json("Usage"))], ..GET }],
    ),
];

pub(super) const INSIGHT: &[Route] = &[
    (
        "/receipt",
        "insight",
        &[Operation {
            summary: "The durability receipt of a version, as things stand now",
            query: "filename bucket key version",
            gives: &[(200, Gives::Json("Standing"))],
            refuses: &[404],
            ..GET
        }],
    ),
    (
        "/admin/explain",
        "insight",
        &[Operation {
            summary: "Why a version lies where it does",
            query: "filename bucket key version limit after_number",
            gives: &[(200, Gives::JsonOrPage("Explanation"))],
            refuses: &[404],
            ..GET
        }],
    ),
    (
        "/admin/diagnose",
        "insight",
        &[Operation {
            summary: "What is wrong, since when, what is being done, and what to do",
            gives: &[(200, Gives::JsonOrPage("Diagnosis"))],
            ..GET
        }],
    ),
    (
        "/admin/events",
        "insight",
        &[Operation {
            summary: "Degradation and repair as they happen, as server-sent events; the answer does not end",
            headers: "last-event-id",
            gives: &[(200, Gives::Text("text/event-stream"))],
            ..GET
        }],
    ),
    (
        "/admin/transitions",
        "insight",
        &[
            Operation {
                summary: "What waits to be stored otherwise, and why",
                query: "limit after_id",
                gives: &[(200, Gives::Json("Transitions"))],
                ..GET
            },
            Operation {
                summary: "Have a version stored otherwise, as it is and while it is read",
                query: "filename bucket key version strategy",
                gives: &[(200, Gives::Json("TransitionOrdered")), (202, Gives::Json("TransitionOrdered"))],
                refuses: &[404, 422],
                ..POST
            },
        ],
    ),
    (
        "/admin/savings",
        "insight",
        &[Operation {
            summary: "What buckets hold, what that takes, and what is saved of it",
            query: "bucket limit after",
            gives: &[(200, Gives::Json("Savings"))],
            refuses: &[404],
            ..GET
        }],
    ),
    (
        "/admin/verify",
        "insight",
        &[
            Operation { summary: "Verifications on record", gives: &[(200, Gives::Json("Verifications"))], ..GET },
            Operation {
                summary: "Have every copy read and checked",
                query: "wait",
                takes: Takes::JsonOrNothing("VerifyOrder"),
                gives: &[(200, Gives::JsonOrPage("Verification")), (202, Gives::Json("VerifyBegun"))],
                refuses: &[404],
                ..POST
            },
        ],
    ),
    (
        "/admin/verify/{id}",
        "insight",
        &[Operation {
            summary: "How far a verification has come, and what it found",
            query: "limit after_number",
            gives: &[(200, Gives::JsonOrPage("Verification"))],
            refuses: &[404],
            ..GET
        }],
    ),
];

pub(super) const WORKERS: &[Route] = &[
    (
        "/admin/workers",
        "workers",
        &[Operation { summary: "What each worker does", gives: &[(200, Gives::Json("Workers"))], ..GET }],
    ),
    (
        "/admin/workers/{name}",
        "workers",
        &[Operation {
            summary: "Pause, tune or start a worker",
            takes: Takes::JsonOrNothing("WorkerOrder"),
            gives: &[(200, Gives::Json("Worker"))],
            refuses: &[404],
            ..POST
        }],
    ),
    (
        "/admin/safe-mode",
        "workers",
        &[
            Operation {
                summary: "Whether repairs and deletes wait, and for whom",
                gives: &[(200, Gives::Json("SafeMode"))],
                ..GET
            },
            Operation {
                method: "DELETE",
                summary: "Repair and delete although not every node has answered",
                gives: &[(200, Gives::Json("SafeMode"))],
                ..GET
            },
        ],
    ),
];

const A_NODE: &[(u16, Gives)] = &[(200, Gives::Json("Node"))];

pub(super) const NODES: &[Route] = &[
    (
        "/admin/nodes",
        "nodes",
        &[
            Operation { summary: "What each node is to the cluster", gives: &[(200, Gives::Json("Nodes"))], ..GET },
            Operation {
                summary: "A node joins, or says where it is now",
                takes: Takes::Json("Announcement"),
                gives: &[(200, Gives::Json("Node")), (201, Gives::Json("Node"))],
                refuses: &[409],
                ..POST
            },
        ],
    ),
    (
        "/admin/nodes/{id}",
        "nodes",
        &[
            Operation { summary: "A node", gives: A_NODE, refuses: &[404], ..GET },
            Operation {
                method: "DELETE",
                summary: "Take a node out",
                gives: &[(200, Gives::Json("Message"))],
                refuses: &[404, 409],
                ..GET
            },
        ],
    ),
    (
        "/admin/nodes/{id}/decommission",
        "nodes",
        &[Operation { summary: "Empty a node", gives: A_NODE, refuses: &[404, 409], ..POST }],
    ),
    (
        "/admin/nodes/{id}/recommission",
        "nodes",
        &[Operation { summary: "Keep a node after all", gives: A_NODE, refuses: &[404, 409], ..POST }],
    ),
    (
        "/admin/nodes/{id}/weight",
        "nodes",
        &[Operation {
            summary: "Give a node another part of what is stored",
            takes: Takes::Json("Weight"),
            gives: A_NODE,
            refuses: &[404, 409],
            ..POST
        }],
    ),
];

const SETTINGS: &[(u16, Gives)] = &[(200, Gives::Json("BucketSettings"))];

pub(super) const BUCKET_SETTINGS: &[Route] = &[
    (
        "/admin/buckets/{bucket}",
        "buckets",
        &[
            Operation {
                summary: "Whose a bucket is, who may read it, how much it may hold",
                gives: SETTINGS,
                refuses: &[404],
                ..GET
            },
            Operation {
                summary: "Change that; what is not named stays",
                takes: Takes::JsonOrNothing("BucketChange"),
                gives: SETTINGS,
                refuses: &[404],
                ..POST
            },
        ],
    ),
    (
        "/admin/buckets/{bucket}/public-read",
        "buckets",
        &[
            Operation {
                method: "PUT",
                summary: "Let anybody read a bucket's objects",
                gives: SETTINGS,
                refuses: &[404],
                ..GET
            },
            Operation {
                method: "DELETE",
                summary: "Let nobody read a bucket's objects without a key",
                gives: SETTINGS,
                refuses: &[404],
                ..GET
            },
        ],
    ),
];

const A_KEY: &[(u16, Gives)] = &[(200, Gives::Json("Key"))];

pub(super) const KEYS: &[Route] = &[
    (
        "/admin/keys",
        "keys",
        &[
            Operation { summary: "The keys, without their secrets", gives: &[(200, Gives::Json("Keys"))], ..GET },
            Operation {
                summary: "Make a key; its secrets are shown this once",
                takes: Takes::JsonOrNothing("NewKey"),
                gives: &[(201, Gives::Json("FreshKey"))],
                refuses: &[409],
                ..POST
            },
        ],
    ),
    (
        "/admin/keys/{id}",
        "keys",
        &[
            Operation { summary: "A key", gives: A_KEY, refuses: &[404], ..GET },
            Operation {
                method: "DELETE",
                summary: "Delete a key",
                gives: &[(204, Gives::Nothing)],
                refuses: &[404, 409],
                ..GET
            },
        ],
    ),
    (
        "/admin/keys/{id}/disable",
        "keys",
        &[Operation { summary: "Refuse a key", gives: A_KEY, refuses: &[404, 409], ..POST }],
    ),
    (
        "/admin/keys/{id}/enable",
        "keys",
        &[Operation { summary: "Accept a key again", gives: A_KEY, refuses: &[404, 409], ..POST }],
    ),
    (
        "/admin/keys/{id}/rotate",
        "keys",
        &[Operation {
            summary: "Fresh secrets, shown this once",
            gives: &[(200, Gives::Json("FreshKey"))],
            refuses: &[404, 409],
            ..POST
        }],
    ),
    (
        "/admin/keys/{id}/expire",
        "keys",
        &[Operation {
            summary: "Give a key another expiry, or none",
            takes: Takes::JsonOrNothing("Expiry"),
            gives: A_KEY,
            refuses: &[404, 409],
            ..POST
        }],
    ),
    (
        "/admin/keys/{id}/policy",
        "keys",
        &[Operation {
            summary: "Give a key another policy",
            takes: Takes::Json("Policy"),
            gives: A_KEY,
            refuses: &[404, 409],
            ..POST
        }],
    ),
];
