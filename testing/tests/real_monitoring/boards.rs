//! The dashboards as files: what Grafana would refuse or show as an empty panel, found without a Grafana.

use crate::{root, text_of};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use testing::real::{python_tool, skipped};

/// The oldest layout that the shipped dashboards may have: that of Grafana 10.
const SCHEMA_VERSION_MIN: u64 = 39;
/// Columns of a dashboard.
const COLUMNS: u64 = 24;
/// Panels that the dashboards use, all of them core ones.
const PANELS: [&str; 5] = ["row", "timeseries", "stat", "state-timeline", "logs"];
/// The dashboards that there must be (issue 6).
const TITLES: [&str; 6] = ["Overview", "Requests", "Nodes and disks", "Repair", "Storage savings", "Logs"];

/// An expression of a panel.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub datasource: String,
    pub expression: String,
}

/// Every dashboard.
pub fn boards() -> Vec<Value> {
    let parse = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a dashboard can be read");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files().iter().map(parse).collect()
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("grafana/dashboards"))
        .expect("there are dashboards")
        .map(|entry| entry.expect("a directory can be read").path())
        .collect();
    files.sort();
    files
}

/// Every expression of every panel.
pub fn panels() -> Vec<Panel> {
    let mut found = Vec::new();
    for board in boards() {
        for panel in list(&board["panels"]).iter().filter(|panel| panel["type"] != "row") {
            for target in list(&panel["targets"]) {
                found.push(Panel {
                    title: format!("{} / {}", text(&board["title"]), text(&panel["title"])),
                    datasource: text(&target["datasource"]["uid"]).to_owned(),
                    expression: text(&target["expr"]).to_owned(),
                });
            }
        }
    }
    found
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// What the provisioning calls its data sources.
fn provisioned() -> BTreeSet<String> {
    let file = text_of("grafana/provisioning/datasources/holdfast.yml");
    file.lines().filter_map(|line| line.trim().strip_prefix("uid: ")).map(str::to_owned).collect()
}

#[test]
fn the_dashboards_are_what_grafana_takes() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for board in boards() {
        let title = text(&board["title"]);
        assert!(board["schemaVersion"].as_u64() >= Some(SCHEMA_VERSION_MIN), "{title}");
        assert!(board["id"].is_null(), "{title}: Grafana gives the number");
        assert!(uids.insert(text(&board["uid"]).to_owned()), "{title}: its uid is another one's, too");
        titles.insert(title.trim_start_matches("Holdfast / ").to_owned());
        assert!(text(&board["uid"]).len() <= 40, "{title}: a uid has at most 40 characters");
        let mut ids = BTreeSet::new();
        let mut places: Vec<[u64; 4]> = Vec::new();
        for panel in list(&board["panels"]) {
            let (title, kind) = (format!("{title} / {}", text(&panel["title"])), text(&panel["type"]));
            assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}: its id is another one's, too");
            assert!(PANELS.contains(&kind), "{title}: {kind}");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a number"));
            assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title} is not within the {COLUMNS} columns");
            let meets = |[x2, y2, w2, h2]: &[u64; 4]| x < x2 + w2 && *x2 < x + w && y < y2 + h2 && *y2 < y + h;
            assert!(!places.iter().any(meets), "{title} covers another panel");
            places.push([x, y, w, h]);
        }
    }
    assert_eq!(titles, TITLES.map(str::to_owned).into());
}

#[test]
fn every_panel_asks_a_data_source_that_is_provisioned() {
    let provisioned = provisioned();
    assert!(provisioned.contains("prometheus") && provisioned.contains("loki"), "{provisioned:?}");
    let panels = panels();
    assert!(panels.len() > 80, "{}", panels.len());
    for panel in panels {
        assert!(provisioned.contains(&panel.datasource), "{}: {}", panel.title, panel.datasource);
        assert!(!panel.expression.trim().is_empty(), "{} asks nothing", panel.title);
    }
}

/// Grafana's own types, as its foundation SDK has them.
#[test]
fn the_dashboards_fit_grafanas_schema() {
    let test = "the_dashboards_fit_grafanas_schema";
    let Some(python) = python_tool("python3") else {
        return skipped(test, "no Python with Grafana's SDK; run scripts/install-test-deps.sh");
    };
    let check = |files: &[PathBuf]| {
        let program = root().join("testing/grafana/check_dashboards.py");
        let output = Command::new(&python).arg(program).args(files).output().expect("Python can be started");
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), told)
    };
    let (code, told) = check(&files());
    assert_eq!(code, Some(0), "{told}");

    // And it would be seen if one did not.
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    for (right, wrong) in [
        (r#""colorMode": "background""#, r#""colorMode": "backdrop""#),
        (r#""justifyMode""#, r#""justification""#),
        (r#""unit": "short""#, r#""unit": 5"#),
    ] {
        let text = text_of("grafana/dashboards/overview.json");
        assert!(text.contains(right), "{right}");
        let path = dir.path().join("wrong.json");
        std::fs::write(&path, text.replacen(right, wrong, 1)).expect("a file can be written");
        let (code, told) = check(&[path]);
        assert_eq!(code, Some(1), "{wrong}: {told}");
        assert_eq!(told.lines().count(), 1, "{wrong}: {told}");
    }
}
