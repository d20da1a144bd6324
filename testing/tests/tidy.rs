//! The source is tested (style habits 1, 9, 10 and the house rules): who may depend on whom, who may name what, how long things
//! are and what they open with. An exception is written down here, with its reason, or it is a failure.

use std::collections::{BTreeMap, BTreeSet};
use testing::tidy::{Source, root, sources, tracked_files};

const FILE_LINES_MAX: usize = 400;
const TEST_FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Crates, and the crates of the workspace each may name, in tests too (design 9).
const CRATES: [(&str, &[&str]); 7] = [
    ("protocol", &[]),
    ("segments", &["protocol", "segments"]),
    ("process", &["protocol"]),
    ("storage-node", &["protocol", "segments", "process"]),
    ("coordinator", &["protocol", "segments", "process"]),
    ("testing", &["protocol", "segments", "process", "storage-node", "coordinator"]),
    ("bench", &["process", "protocol"]),
];

/// Modules of the coordinator that are no layer: who may name any of them, and why.
const ABOVE_ALL_LAYERS: [&str; 3] = ["main", "new_cluster", "restore_catalog"];

/// Who may name a library or a call, and nobody else: what it is, and where.
const NAMED_ONLY_IN: [(&str, &[&str]); 11] = [
    (
        "actix",
        &["coordinator/src/dialect/", "coordinator/src/main.rs", "storage-node/src/http", "storage-node/src/main.rs"],
    ),
    ("reqwest", &["coordinator/src/nodes/client", "storage-node/src/peer.rs"]),
    (
        "sled",
        &[
            "coordinator/src/metadata/sled/",
            "coordinator/src/main.rs",
            "coordinator/src/restore_catalog.rs",
            "storage-node/src/index",
        ],
    ),
    ("tokio_rustls", &["coordinator/src/nodes/client", "coordinator/src/dialect/s3"]),
    ("governor", &["coordinator/src/limits.rs"]),
    ("utoipa", &["coordinator/src/dialect/openapi/"]),
    ("rmp_serde", &["coordinator/src/metadata/codec.rs"]),
    ("s3s", &["coordinator/src/dialect/s3/"]),
    ("hyper", &["coordinator/src/dialect/s3/"]),
    ("hyper_util", &["coordinator/src/dialect/s3/"]),
    ("zstd", &["coordinator/src/object/pack.rs", "protocol/src/content.rs"]),
];

/// Calls that only `segments` makes: a rename or a remove without a directory fsync is lost, a failed fsync is final.
const ONLY_SEGMENTS: [&str; 8] = [
    "fs::rename",
    "fs::remove_file",
    "fs::remove_dir",
    "sync_all(",
    "sync_data(",
    "fdatasync(",
    "fsync(",
    "fs::write(",
];
/// Where else, and why.
const SYNCS_ELSEWHERE: [(&str, &str); 1] =
    [("coordinator/src/new_cluster.rs", "creates one file with create_new and fsyncs it; there is nothing to rename")];

fn fail_if_any(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

fn product_sources() -> Vec<Source> {
    sources().into_iter().filter(|source| !source.is_test()).collect()
}

/// Whether `code` names the word `word`, not as a part of a longer one.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !(part(before) || word.ends_with(|c: char| c.is_alphanumeric()) && part(after))
    })
}

#[test]
fn crates_depend_one_way() {
    let mut wrong = Vec::new();
    for (name, allowed) in CRATES {
        let manifest: toml::Table =
            std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap().parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(|section| section.as_table()) else { continue };
            for dependency in dependencies.keys().filter(|key| CRATES.iter().any(|(known, _)| known == key)) {
                if !allowed.contains(&dependency.as_str()) {
                    wrong.push(format!("{name} names {dependency} in {section}"));
                }
            }
        }
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name} follows the workspace's lints");
    }
    fail_if_any("crates that name what they must not", wrong);
    let workspace: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members: BTreeSet<&str> =
        workspace["workspace"]["members"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
    assert_eq!(members, CRATES.iter().map(|(name, _)| *name).collect(), "a new crate says here what it may name");
}

/// The order is the one that the crate's own head tells.
#[test]
fn modules_of_the_coordinator_name_only_modules_to_their_left() {
    let all = sources();
    let lib = all.iter().find(|source| source.path == "coordinator/src/lib.rs").unwrap();
    let head: String = lib.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let order =
        head.split("each names only modules to its left:").nth(1).expect("lib.rs tells the order of its modules");
    let mut rank: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, layer) in order.split('→').enumerate() {
        for module in layer.split('`').skip(1).step_by(2) {
            rank.insert(module, place);
        }
    }
    assert!(rank.len() >= 8, "{rank:?}");
    let mut wrong = Vec::new();
    for source in all.iter().filter(|source| source.path.starts_with("coordinator/src/") && source.path != lib.path) {
        let inside = &source.path["coordinator/src/".len()..];
        let module = inside.split(['/', '.']).next().unwrap();
        if ABOVE_ALL_LAYERS.contains(&module) {
            continue;
        }
        let Some(place) = rank.get(module) else {
            wrong.push(format!("{}: lib.rs does not say where {module} stands", source.path));
            continue;
        };
        for (named, other) in rank.iter().filter(|(named, other)| **named != module && *other >= place) {
            let by_super = !inside.contains('/') && names(&source.code, &format!("super::{named}"));
            if names(&source.code, &format!("crate::{named}")) || by_super {
                wrong.push(format!("{} names {named}, which stands to its right ({place} < {other})", source.path));
            }
        }
    }
    fail_if_any("modules that name what is to their right", wrong);
}

#[test]
fn each_library_is_named_in_its_own_place_only() {
    let mut wrong = Vec::new();
    for source in product_sources().iter().filter(|source| !source.path.starts_with("process/")) {
        for (library, places) in NAMED_ONLY_IN {
            let inside = places.iter().any(|place| source.path.starts_with(place));
            let uses = names(source.product(), &format!("{library}::"))
                || source.product().contains(&format!("use {library}"));
            let uses = uses || (library == "actix" && source.product().contains("actix_"));
            if uses && !inside {
                wrong.push(format!("{} names {library}", source.path));
            }
        }
    }
    fail_if_any("libraries named outside their place", wrong);
}

#[test]
fn only_segments_syncs_renames_and_removes() {
    let mut wrong = Vec::new();
    for source in product_sources().iter().filter(|source| !source.path.starts_with("segments/")) {
        let excepted = SYNCS_ELSEWHERE.iter().any(|(path, _)| *path == source.path);
        for call in ONLY_SEGMENTS {
            if names(source.product(), call) && !excepted {
                wrong.push(format!("{} calls {call}", source.path));
            }
        }
    }
    fail_if_any("files that do what only segments may", wrong);
}

#[test]
fn only_one_file_spells_metadata_keys() {
    let prefixes = [
        "object", "version", "page", "chunk", "digest", "ref", "intent", "repair", "garbage", "node", "collect",
        "trash", "lease", "beat", "worker", "wanted",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| {
        (source.path.starts_with("coordinator/src/") || source.path.starts_with("testing/"))
            && source.path != "coordinator/src/metadata/keys.rs"
            && source.path != "coordinator/src/metadata/keys/tests.rs"
    }) {
        let product =
            if source.path.starts_with("testing/") { &source.text } else { &source.text[..source.product().len()] };
        for prefix in prefixes {
            let spelled = format!("b\"{prefix}/");
            if product.contains(&spelled) {
                wrong.push(format!("{} spells {spelled}", source.path));
            }
        }
    }
    fail_if_any("keys spelled outside keys.rs", wrong);
}

#[test]
fn files_open_with_what_they_are_for() {
    let without = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    fail_if_any("files that do not open with //!", without.map(|source| source.path).collect());
}

#[test]
fn files_and_functions_fit_the_eye() {
    let mut long = Vec::new();
    for source in sources() {
        let max = if source.is_test_file() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
        let lines = if source.is_test_file() { source.text.lines().count() } else { source.product().lines().count() };
        if lines > max {
            long.push(format!("{} has {lines} lines, at most {max}", source.path));
        }
        for function in source.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
            long.push(format!("{}:{} {} has {} lines", source.path, function.line, function.name, function.lines));
        }
    }
    fail_if_any("too long", long);
}

#[test]
fn names_say_something() {
    let drawers = ["utils", "util", "common", "helpers", "helper", "manager", "misc"];
    let is_drawer = |path: &String| path.split(['/', '.']).any(|part| drawers.contains(&part));
    fail_if_any("drawers", tracked_files().into_iter().filter(|path| is_drawer(path)).collect());
}

#[test]
fn imports_are_by_name() {
    let mut globs = Vec::new();
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            let text = line.trim();
            let glob = (text.starts_with("use ") || text.starts_with("pub use ")) && text.contains("::*");
            // A test module may take all of the module it tests.
            let of_the_tested =
                text == "use super::*;" && (source.is_test_file() || number >= source.product().lines().count());
            if glob && !of_the_tested {
                globs.push(format!("{}:{} {text}", source.path, number + 1));
            }
        }
    }
    fail_if_any("glob imports", globs);
}

/// What is left for later is an issue, not a mark in the source; a test that does not run is none.
#[test]
fn nothing_is_left_for_later() {
    let marks = ["TO", "FIX", "XX"].map(|start| {
        format!(
            "{start}{}",
            match start {
                "TO" => "DO",
                "FIX" => "ME",
                _ => "X",
            }
        )
    });
    let calls = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut found = Vec::new();
    for source in sources() {
        found.extend(
            marks.iter().filter(|mark| names(&source.text, mark)).map(|mark| format!("{}: {mark}", source.path)),
        );
        found.extend(
            calls.iter().filter(|call| source.code.contains(*call)).map(|call| format!("{}: {call}", source.path)),
        );
    }
    fail_if_any("left for later", found);
}

/// Each law of the design is quoted by a test, or there is no saying that it holds.
#[test]
fn the_laws_are_quoted_by_tests() {
    let tests: Vec<String> = sources().iter().map(|source| source.tests().to_lowercase()).collect();
    let quoted = |law: u32| tests.iter().any(|text| names(text, &format!("law {law}")));
    let unquoted: Vec<String> =
        [1, 2, 3, 4, 5, 6, 7, 10, 12].into_iter().filter(|law| !quoted(*law)).map(|law| format!("law {law}")).collect();
    fail_if_any("laws that no test quotes", unquoted);
}

#[test]
fn no_machine_and_no_secret_is_named() {
    let homes = ["work", "root", "home", "Users"].map(|name| format!("/{name}/"));
    let secrets = ["-----BEGIN ", "AKIA", "ghp_", "xoxb-"].map(|start| start.to_owned());
    let mut found = Vec::new();
    for path in tracked_files().into_iter().filter(|path| path != "testing/tests/tidy.rs") {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let names_home = homes.iter().any(|home| {
                line.match_indices(home.as_str()).any(|(at, _)| {
                    // A path begins there; it is no part of a longer one, nor of a URL.
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-*/~}>".contains(c))
                })
            });
            if names_home || secrets.iter().any(|secret| line.contains(secret.as_str())) {
                found.push(format!("{path}:{} {}", number + 1, line.trim()));
            }
        }
    }
    fail_if_any("machine paths or secrets", found);
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for path in tracked_files() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        let directory = root().join(&path).parent().unwrap().to_owned();
        if path.ends_with(".md") {
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = link.split('#').next().unwrap();
                let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
                if !outside && !directory.join(target).exists() {
                    dead.push(format!("{path}: {link}"));
                }
            }
        }
        if path.ends_with(".rs") || path.ends_with(".md") || path.ends_with(".sh") || path.ends_with(".toml") {
            dead.extend(
                mentioned_documents(&text)
                    .into_iter()
                    .filter(|doc| !root().join(doc).exists())
                    .map(|doc| format!("{path}: {doc}")),
            );
        }
    }
    fail_if_any("links that lead nowhere", dead);
}

/// Every `docs/….md` in a text.
fn mentioned_documents(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("docs/");
    let mentioned = starts.filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || "/.-".contains(c)));
    let name = |(at, _): (usize, &str)| -> String {
        text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || "/._-".contains(*c)).collect()
    };
    mentioned.map(name).filter(|name| name.ends_with(".md")).collect()
}
