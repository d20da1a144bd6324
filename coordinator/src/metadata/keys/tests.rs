//! Keys come apart as they were put together, and their byte order is the order that scans rely on.

use super::*;

fn version_id(byte: u8) -> VersionId {
    VersionId(Uuid::from_bytes([byte; 16]))
}

#[test]
fn keys_round_trip() {
    let id = ChunkId(Uuid::from_u128(7 << 90));
    assert_eq!(parse_object(&object("b", "a/ä")).unwrap(), ("b", "a/ä"));
    assert_eq!(parse_version(&version("b", "k", 256)).unwrap(), ("b", "k", 256));
    assert_eq!(parse_page(&page(version_id(0), 9)).unwrap(), (version_id(0), 9));
    assert_eq!(parse_chunk(&chunk(id)).unwrap(), id);
    assert_eq!(parse_reference(&reference(id, version_id(0xff))).unwrap(), (id, version_id(0xff)));
    assert_eq!(parse_intent(&intent(version_id(1))).unwrap(), version_id(1));
    assert_eq!(parse_repair(&repair(0, id)).unwrap(), (0, id));
    assert_eq!(parse_garbage(&garbage(version_id(2))).unwrap(), version_id(2));
    assert_eq!(parse_collect(&collect(id)).unwrap(), id);
    assert_eq!(parse_verify(&verify(Uuid::from_u128(9))).unwrap(), Uuid::from_u128(9));
    let (node, shard) = ("n1".parse().unwrap(), ShardId { chunk: id, index: 0 });
    assert_eq!(parse_trash(&trash(&node, shard)).unwrap(), (node, shard));
}

#[test]
fn a_key_of_another_kind_or_length_is_corrupt() {
    for key in [&b""[..], b"object/", b"version/a\0b\0abc", b"chunk/1", b"ref/", b"repair/", b"page/x", b"garbage"] {
        assert!(parse_object(key).is_err() && parse_version(key).is_err() && parse_page(key).is_err());
        assert!(parse_chunk(key).is_err() && parse_reference(key).is_err() && parse_intent(key).is_err());
        assert!(parse_repair(key).is_err() && parse_garbage(key).is_err());
    }
    assert!(parse_object(b"object/b\0\xff").is_err(), "names are UTF-8");
    assert!(parse_chunk(&after(&chunk(ChunkId(Uuid::nil())))).is_err(), "an id has 16 bytes");
}

#[test]
fn byte_order_is_the_order_of_names_numbers_and_offsets() {
    assert!(version("b", "k", 255) < version("b", "k", 256));
    let range = versions("b", "k");
    assert!(range.from <= version("b", "k", 0) && version("b", "k", u64::MAX) < range.to);
    assert!(!(range.from..range.to).contains(&version("b", "k2", 1)), "k2 is another name");
    let range = versions_in("b", "k");
    assert!((&range.from..&range.to).contains(&&version("b", "k2", 1)), "k2 starts with k");
    assert!(!(&range.from..&range.to).contains(&&version("b", "j", 1)));
    let range = findings_from(Uuid::from_u128(9), 3);
    assert!(finding(Uuid::from_u128(9), 2) < range.from && finding(Uuid::from_u128(9), u64::MAX) < range.to);
    let range = objects("b", "");
    assert!((range.from.clone()..range.to.clone()).contains(&object("b", "\u{10ffff}")));
    assert!(!(range.from..range.to).contains(&object("b2", "k")), "b2 is another bucket");
}

#[test]
fn the_page_with_an_offset_is_the_first_after_it() {
    let (first, second) = (page(version_id(3), 100), page(version_id(3), 200));
    let at = |offset| pages_from(version_id(3), offset).from;
    assert!(at(0) <= first && at(99) <= first);
    assert!(first < at(100) && at(100) <= second && at(199) <= second);
    assert!(second < at(200));
    let end = pages_from(version_id(0xff), u64::MAX);
    assert_eq!(end.from, end.to);
}

#[test]
fn a_prefix_of_ones_still_has_an_end() {
    let range = starting_with(intent(version_id(0xff)));
    assert_eq!(range.to, Bytes::from_static(b"intent0"));
}
