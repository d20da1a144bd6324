//! The routes by which objects come and go: the file door, the gateway door, the bucket door, the document door.

use super::notation::{GET, Gives, Operation, Route, Takes};

const READ_HEADERS: &str = "range if-match if-none-match if-modified-since if-unmodified-since if-range";
const WRITE_HEADERS: &str = "if-match if-none-match if-unmodified-since";
const PUT_HEADERS: &str = "if-match if-none-match if-unmodified-since content-md5";
const OBJECT: &[(u16, Gives)] = &[(200, Gives::Bytes), (206, Gives::Bytes), (304, Gives::Nothing)];
const HEAD_OF_OBJECT: &[(u16, Gives)] = &[(200, Gives::Nothing), (206, Gives::Nothing), (304, Gives::Nothing)];
const READ_REFUSES: &[u16] = &[404, 412, 416];
const WRITE_REFUSES: &[u16] = &[408, 411, 412, 413, 422];

const GET_FILE: Operation = Operation { headers: READ_HEADERS, gives: OBJECT, refuses: READ_REFUSES, ..GET };
const HEAD_FILE: Operation = Operation { method: "HEAD", gives: HEAD_OF_OBJECT, ..GET_FILE };

pub(super) const FILES: &[Route] = &[
    (
        "/upload",
        "files",
        &[Operation {
            method: "POST",
            summary: "Store a file: the next version of its name",
            query: "strategy",
            headers: WRITE_HEADERS,
            takes: Takes::Form,
            gives: &[(201, Gives::Json("Upload"))],
            refuses: &[408, 411, 412, 413, 422],
        }],
    ),
    (
        "/download",
        "files",
        &[
            Operation { summary: "Get a version of a file, or a part of it", query: "filename! version", ..GET_FILE },
            Operation { summary: "The head of a download", query: "filename! version", ..HEAD_FILE },
        ],
    ),
    (
        "/files",
        "files",
        &[Operation {
            summary: "List files by name",
            query: "prefix limit after",
            gives: &[(200, Gives::Json("Files"))],
            ..GET
        }],
    ),
    (
        "/files/{filename:.*}",
        "files",
        &[
            Operation { summary: "Get a version of a file, or a part of it", query: "version", ..GET_FILE },
            Operation { summary: "The head of a file", query: "version", ..HEAD_FILE },
        ],
    ),
    (
        "/versions",
        "files",
        &[Operation {
            summary: "List the versions of a file, oldest first",
            query: "filename! limit after_number",
            gives: &[(200, Gives::Json("FileVersions"))],
            refuses: &[404],
            ..GET
        }],
    ),
    (
        "/delete",
        "files",
        &[Operation {
            method: "DELETE",
            summary: "Delete a file; its versions stay, unless they are purged",
            query: "filename! purge",
            headers: WRITE_HEADERS,
            gives: &[(200, Gives::Json("Deleted"))],
            refuses: &[412],
            ..GET
        }],
    ),
];

const LIST_GATEWAY: &[Operation] = &[Operation {
    summary: "List a bucket's objects, or with versions all versions of them",
    query: "versions prefix delimiter limit after after_version",
    gives: &[(200, Gives::Json("Objects"))],
    refuses: &[404],
    ..GET
}];

pub(super) const GATEWAY: &[Route] = &[
    ("/s3/{bucket}", "gateway", LIST_GATEWAY),
    ("/s3/{bucket}/", "gateway", LIST_GATEWAY),
    (
        "/s3/{bucket}/{key:.*}",
        "gateway",
        &[
            Operation {
                summary: "Get an object or a part of it; with versions, its history",
                query: "versionId versions limit after_number",
                ..GET_FILE
            },
            Operation { summary: "The head of an object", query: "versionId", ..HEAD_FILE },
            Operation {
                method: "PUT",
                summary: "Store an object; the bucket springs into being",
                query: "strategy",
                headers: PUT_HEADERS,
                takes: Takes::Bytes,
                gives: &[(200, Gives::Json("Stored"))],
                refuses: WRITE_REFUSES,
            },
            Operation {
                method: "DELETE",
                summary: "Delete an object, or one version of it",
                query: "versionId",
                headers: WRITE_HEADERS,
                gives: &[(200, Gives::Json("Message"))],
                refuses: &[404, 412],
                ..GET
            },
        ],
    ),
];

const LIST_BUCKET: &[Operation] = &[Operation {
    summary: "List a bucket's objects",
    query: "prefix delimiter limit after",
    gives: &[(200, Gives::Json("BucketObjects"))],
    refuses: &[404],
    ..GET
}];

pub(super) const BUCKETS: &[Route] = &[
    (
        "/buckets",
        "buckets",
        &[
            Operation {
                summary: "List the buckets that the key may list",
                query: "prefix limit after_bucket",
                gives: &[(200, Gives::Json("Buckets"))],
                ..GET
            },
            Operation {
                method: "POST",
                summary: "Make a bucket",
                takes: Takes::Json("NewBucket"),
                gives: &[(201, Gives::Json("Bucket"))],
                refuses: &[408, 409, 422],
                ..GET
            },
        ],
    ),
    (
        "/buckets/{bucket}",
        "buckets",
        &[
            Operation { summary: "A bucket", gives: &[(200, Gives::Json("Bucket"))], refuses: &[404], ..GET },
            Operation {
                method: "HEAD",
                summary: "Whether there is such a bucket",
                gives: &[(200, Gives::Nothing)],
                refuses: &[404],
                ..GET
            },
            Operation {
                method: "DELETE",
                summary: "Delete a bucket in which nothing is",
                gives: &[(204, Gives::Nothing)],
                refuses: &[404, 409],
                ..GET
            },
        ],
    ),
    ("/buckets/{bucket}/objects", "buckets", LIST_BUCKET),
    ("/buckets/{bucket}/objects/", "buckets", LIST_BUCKET),
    (
        "/buckets/{bucket}/objects/{key:.*}",
        "buckets",
        &[
            Operation { summary: "Get an object or a part of it", query: "versionId", ..GET_FILE },
            Operation { summary: "The head of an object", query: "versionId", ..HEAD_FILE },
            Operation {
                method: "PUT",
                summary: "Store an object; the bucket springs into being",
                query: "strategy",
                headers: PUT_HEADERS,
                takes: Takes::Bytes,
                gives: &[(201, Gives::Json("Uploaded"))],
                refuses: WRITE_REFUSES,
            },
            Operation {
                method: "DELETE",
                summary: "Delete an object, or one version of it",
                query: "versionId",
                headers: WRITE_HEADERS,
                gives: &[(200, Gives::Json("Message"))],
                refuses: &[404, 412],
                ..GET
            },
        ],
    ),
    (
        "/objects",
        "buckets",
        &[Operation {
            summary: "Every object of a bucket or of all, as one array that is sent as it is read",
            query: "bucket prefix",
            gives: &[(200, Gives::Json("[Line]"))],
            ..GET
        }],
    ),
];

pub(super) const DOCUMENTS: &[Route] = &[
    (
        "/write",
        "documents",
        &[Operation {
            method: "POST",
            summary: "Store a document, or change its hot fields only",
            query: "key! document_strategy hot_only",
            headers: WRITE_HEADERS,
            takes: Takes::Json("any"),
            gives: &[(200, Gives::Json("Written"))],
            refuses: &[404, 408, 411, 412, 413, 415, 422],
        }],
    ),
    (
        "/read/{key:.*}",
        "documents",
        &[Operation {
            summary: "The JSON that was written",
            query: "version",
            refuses: &[404, 412, 416, 422],
            ..GET_FILE
        }],
    ),
    (
        "/delete/{key:.*}",
        "documents",
        &[Operation {
            method: "DELETE",
            summary: "Delete every version of a document",
            headers: WRITE_HEADERS,
            gives: &[(200, Gives::Json("DocumentDeleted"))],
            refuses: &[412, 422],
            ..GET
        }],
    ),
    (
        "/documents/{key:.*}",
        "documents",
        &[Operation {
            method: "PATCH",
            summary: "Change a document by a JSON merge patch (RFC 7396)",
            headers: WRITE_HEADERS,
            takes: Takes::MergePatch,
            gives: &[(200, Gives::Json("Written"))],
            refuses: &[404, 408, 411, 412, 413, 415, 422],
            ..GET
        }],
    ),
    (
        "/admin/documents/hot-fields",
        "documents",
        &[Operation {
            summary: "Which fields of documents are hot, and why",
            gives: &[(200, Gives::Json("HotFields"))],
            ..GET
        }],
    ),
];
