//! The alerts as rules: each is tested with numbers by `promtool`, and explained to whoever it wakes.

use super::prometheus::shipped;
use crate::text_of;
use std::collections::BTreeSet;
use std::process::Command;
use testing::real::{skipped, test_tool};

const TESTS: [&str; 2] = ["alerts_test.yml", "alerts_scrub_test.yml"];

/// The names of all alerts.
pub fn alerts() -> BTreeSet<String> {
    let file = text_of("monitoring/prometheus/alerts.yml");
    file.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

#[test]
fn every_alert_fires_at_its_numbers() {
    let Some(promtool) = test_tool("promtool") else {
        return skipped(
            "every_alert_fires_at_its_numbers",
            "promtool is not there; scripts/install-test-deps.sh gets it",
        );
    };
    let output = Command::new(promtool).args(["test", "rules"]).args(TESTS).current_dir(shipped()).output();
    let output = output.expect("promtool can be started");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    let tests: String = TESTS.iter().map(|name| text_of(&format!("monitoring/prometheus/{name}"))).collect();
    for alert in alerts() {
        let fires = tests.contains(&format!("alertname: {alert}\n        exp_alerts"));
        assert!(fires, "{alert} has no test that fires it");
    }
}

#[test]
fn every_alert_is_fired_by_what_causes_it() {
    let causes =
        ["alerts", "machines"].map(|name| text_of(&format!("testing/tests/real_monitoring/{name}.rs"))).concat();
    for alert in alerts() {
        assert!(causes.contains(&format!("fires(\"{alert}\"")), "{alert} is not fired by a cluster");
    }
}

#[test]
fn every_alert_is_explained() {
    let (rules, runbook) = (text_of("monitoring/prometheus/alerts.yml"), text_of("docs/operating.md"));
    let alerts = alerts();
    for alert in &alerts {
        assert!(runbook.contains(&format!("\n### {alert}\n")), "docs/operating.md has no section {alert}");
        let link = format!("runbook_url: docs/operating.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} does not lead to its section");
    }
    assert_eq!(rules.matches("severity: ").count(), alerts.len() + 1, "each has a severity; the head explains them");
}
