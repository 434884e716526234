//! Every finding of DOCTOR: its sentence, its order, its fields, and the page that lists them.

use std::collections::BTreeSet;

use causes::{CAUSES, healthy};

use super::*;
use crate::commands::doctor::finding::Severity;
use crate::pages::COMMANDS;
use crate::reply::json::to_json;

#[path = "findings_causes.rs"]
mod causes;

fn codes(facts: &Facts) -> Vec<(Severity, Code)> {
    findings(facts)
        .iter()
        .map(|f| (f.severity, f.code))
        .collect()
}

fn line(facts: &Facts, code: Code) -> Option<String> {
    findings(facts)
        .iter()
        .find(|f| f.code == code)
        .map(Finding::line)
}

#[test]
fn every_finding_has_its_cause_and_its_sentence() {
    let told: BTreeSet<Code> = CAUSES.iter().map(|(code, ..)| *code).collect();
    assert_eq!(told.len(), Code::ALL.len(), "a code without a cause");
    for (code, severity, cause, sentence) in CAUSES {
        let mut facts = healthy();
        cause(&mut facts);
        assert_eq!(line(&facts, *code).as_deref(), Some(*sentence));
        assert!(codes(&facts).contains(&(*severity, *code)), "{code:?}");
    }
}

#[test]
fn without_a_cause_there_is_nothing_but_notes() {
    let notes = [Code::Found, Code::Cleanup, Code::TimeFields, Code::Schedule];
    let found: Vec<Code> = codes(&healthy())
        .into_iter()
        .map(|(_, code)| code)
        .collect();
    assert_eq!(found, notes);
}

#[test]
fn a_schedule_without_a_next_run_says_so() {
    let mut facts = healthy();
    facts.outlook.next_run_s = None;
    let line = line(&facts, Code::Schedule).unwrap();
    assert!(line.contains(" in databases 0, 3, no run due: "), "{line}");
}

/// Everything at once that does not exclude something else.
fn worst() -> Facts {
    let mut facts = healthy();
    for (code, _, cause, _) in CAUSES {
        if !matches!(
            code,
            Code::Memory | Code::NoCoordinators | Code::ScheduleOff | Code::NotListed
        ) {
            cause(&mut facts);
        }
    }
    facts
}

/// It says that nothing below it can be relied upon.
#[test]
fn the_warm_up_comes_before_all_else() {
    let mut facts = worst();
    facts.outlook.is_replica = false;
    let found = codes(&facts);
    assert_eq!(found[0], (Severity::Note, Code::WarmUp));
    assert!(found[1..].is_sorted(), "{found:?}");
    facts.outlook.writers_away_s = 31;
    let told = line(&facts, Code::WarmUp).unwrap();
    assert!(told.contains("clients could not write for 31 s"), "{told}");
}

#[test]
fn the_most_serious_comes_first_and_each_code_once() {
    let found = codes(&worst());
    assert!(found.is_sorted(), "{found:?}");
    assert!(found.len() > 15, "{found:?}");
    let different: BTreeSet<Code> = found.iter().map(|(_, code)| *code).collect();
    assert_eq!(different.len(), found.len());
    let severities: BTreeSet<Severity> = found.iter().map(|(severity, _)| *severity).collect();
    assert_eq!(severities.len(), 3);
}

/// Numbers of a sentence that do not stand between quotes.
fn numbers(sentence: &str) -> Vec<u64> {
    let plain: String = sentence
        .split('\'')
        .step_by(2)
        .collect::<Vec<_>>()
        .join("_");
    let words = plain
        .split(|c: char| !c.is_ascii_digit())
        .filter(|word| !word.is_empty());
    words.map(|word| word.parse().unwrap()).collect()
}

fn leaves(value: &Value, out: &mut BTreeSet<u64>) {
    match value {
        Value::Int(number) => drop(out.insert(u64::try_from(*number).unwrap())),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        Value::Map(fields) => fields.iter().for_each(|(_, value)| leaves(value, out)),
        _ => {}
    }
}

#[test]
fn every_number_of_a_sentence_is_a_number_of_its_details() {
    let mut all: Vec<Finding> = CAUSES
        .iter()
        .flat_map(|(_, _, cause, _)| {
            let mut facts = healthy();
            cause(&mut facts);
            findings(&facts)
        })
        .collect();
    all.extend(findings(&worst()));
    for finding in all {
        let mut known = BTreeSet::new();
        leaves(&Value::Map(finding.details.clone()), &mut known);
        for sentence in [&finding.text, &finding.advice] {
            for number in numbers(sentence) {
                assert!(known.contains(&number), "{number} in {sentence}: {known:?}");
            }
        }
    }
}

#[test]
fn sentences_are_one_line_of_printable_ascii() {
    for finding in findings(&worst()) {
        let line = finding.line();
        assert!(
            line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line}"
        );
        assert!(line.ends_with('.') && !line.contains("  "), "{line}");
        // An ending that is no word: the full stop is added.
        for text in [&finding.text, &finding.advice] {
            assert!(!text.ends_with(['.', ' ', ',', ';', ':']), "{text}");
        }
    }
}

#[test]
fn the_reply_is_an_array_of_lines_or_one_object() {
    let facts = worst();
    let cost = Cost::default();
    let Value::Array(lines) = Answer::new(&facts, false).to_value(&cost) else {
        panic!("no array");
    };
    let Value::Map(fields) = Answer::new(&facts, true).to_value(&cost) else {
        panic!("no map");
    };
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let cost_names = ["slices", "longest_slice_us", "busy_us", "elapsed_us"];
    let first = ["findings", "database", "threshold_s", "keys_scanned"];
    assert_eq!(names, [first, cost_names].concat());
    let json: serde_json::Value = serde_json::from_slice(&to_json(&Value::Map(fields))).unwrap();
    let told = json["findings"].as_array().unwrap();
    assert_eq!(told.len(), lines.len());
    for (object, line) in told.iter().zip(lines) {
        // Whatever is text has its backslashes doubled in JSON.
        let text = |name: &str| object[name].as_str().unwrap().replace("\\\\", "\\");
        let expected = format!(
            "{}: {}. {}.",
            text("severity"),
            text("finding"),
            text("advice")
        );
        assert_eq!(line, Value::text(expected.as_bytes()));
    }
    // Names are whole there, in the form that all ids have in JSON.
    let ambiguous = told.iter().find(|f| f["code"] == "ambiguous-ids").unwrap();
    assert_eq!(ambiguous["example"], "a:'\n");
    let unreadable = told.iter().find(|f| f["code"] == "unreadable").unwrap();
    assert_eq!(unreadable["reasons"][0]["example"], "\\xffm");
}

/// Names of a finding's own fields, as JSON has them.
fn own_fields(finding: &Finding) -> BTreeSet<String> {
    let json = to_json(&finding.to_value());
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let names = json.as_object().unwrap().keys().cloned();
    let common = ["severity", "code", "finding", "advice"];
    names
        .filter(|name| !common.contains(&name.as_str()))
        .collect()
}

/// The table on the page: code by code, in the order of replies, with every severity it can have, and every field.
#[test]
fn the_page_has_every_code() {
    let (_, section) = COMMANDS.split_once("\n## BLOCKING.DOCTOR\n").unwrap();
    let (_, table) = section.split_once("\n| code | severity |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let quoted = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    type Row = (Vec<String>, String, BTreeSet<String>);
    let rows: Vec<Row> = table
        .lines()
        .skip(2)
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let fields = quoted(cells[4]).into_iter().collect();
            (quoted(cells[1]), cells[2].to_owned(), fields)
        })
        .collect();
    let expected: Vec<Row> = Code::ALL
        .iter()
        .map(|code| {
            let (mut severities, mut fields) = (BTreeSet::new(), BTreeSet::new());
            for (_, _, cause, _) in CAUSES.iter().filter(|(known, ..)| known == code) {
                let mut facts = healthy();
                cause(&mut facts);
                for finding in findings(&facts).iter().filter(|f| f.code == *code) {
                    severities.insert(finding.severity);
                    fields.extend(own_fields(finding));
                }
            }
            // With a share that is too large now.
            if *code == Code::BreakerOpen {
                let breaker = findings(&worst()).into_iter().find(|f| f.code == *code);
                fields.extend(own_fields(&breaker.unwrap()));
            }
            let words: Vec<&str> = severities.iter().map(|severity| severity.word()).collect();
            (vec![code.word().to_owned()], words.join(", "), fields)
        })
        .collect();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), expected.len());
}
