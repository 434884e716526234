//! All findings, in the order they are told, and the reply.

use super::finding::{Code, Finding};
use super::{Facts, heartbeats, keys, operation};
use crate::reply::value::Value;
use crate::report::cost::Cost;

/// Everything that the facts say, the most serious first, but for the warm-up: while it is on, nothing else can be
/// relied upon.
fn findings(facts: &Facts) -> Vec<Finding> {
    let mut all = Vec::new();
    heartbeats::say(facts, &mut all);
    keys::say(facts, &mut all);
    operation::say(facts, &mut all);
    all.sort_by_key(|f| (f.code != Code::WarmUp, f.severity, f.code));
    all
}

/// The reply.
#[derive(Debug)]
pub struct Answer {
    findings: Vec<Finding>,
    json: bool,
    database: u32,
    threshold_s: u32,
    keys_scanned: u64,
}

impl Answer {
    /// What to say of these facts, as sentences or as JSON.
    pub fn new(facts: &Facts, json: bool) -> Self {
        let settings = &facts.survey.settings;
        Self {
            findings: findings(facts),
            json,
            database: settings.database,
            threshold_s: settings.threshold_s,
            keys_scanned: facts.walked.keys_scanned,
        }
    }

    /// The reply.
    pub fn to_value(&self, cost: &Cost) -> Value {
        if !self.json {
            let lines = self.findings.iter().map(|f| Value::text(f.line()));
            return Value::Array(lines.collect());
        }
        let findings = self.findings.iter().map(Finding::to_value);
        let mut fields = vec![
            ("findings", Value::Array(findings.collect())),
            ("database", u64::from(self.database).into()),
            ("threshold_s", u64::from(self.threshold_s).into()),
            ("keys_scanned", self.keys_scanned.into()),
        ];
        fields.extend(cost.fields());
        Value::Map(fields)
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
