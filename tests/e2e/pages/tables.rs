//! Tables, read by a Markdown parser as a reader's browser reads them.

use std::ops::Range;

use anyhow::{Result, ensure};
use pulldown_cmark::{Event, Tag, TagEnd};

use super::{PAGES, parsed};

/// The number of the line at a place in the text.
fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The parser gives every row as many cells as the head has: it fills up with empty ones, which lie nowhere in the
/// text, and drops the rest, which is left over behind the last cell.
fn is_whole(text: &str, row: &Range<usize>, cells: &[Range<usize>]) -> bool {
    let Some(last) = cells.last() else {
        return false;
    };
    let left_over = text.get(last.end..row.end).unwrap_or_default().trim();
    cells.iter().all(|cell| !cell.is_empty()) && matches!(left_over, "" | "|")
}

/// How many tables a page has, and the lines that are not what they look like: rows with more or fewer cells than their
/// table's head, and lines that look like rows and are in no table.
fn tables(text: &str) -> (usize, Vec<usize>) {
    let (mut count, mut faults) = (0, Vec::new());
    let (mut known, mut row, mut cells) = (Vec::new(), 0..0, Vec::new());
    for (event, place) in parsed(text).into_offset_iter() {
        match event {
            Event::Start(Tag::Table(_)) => {
                count += 1;
                known.push(place);
            }
            Event::Start(Tag::CodeBlock(_)) => known.push(place),
            Event::Start(Tag::TableHead | Tag::TableRow) => {
                row = place;
                cells.clear();
            }
            Event::Start(Tag::TableCell) => cells.push(place),
            Event::End(TagEnd::TableHead | TagEnd::TableRow) if !is_whole(text, &row, &cells) => {
                faults.push(line_at(text, row.start));
            }
            _ => {}
        }
    }
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let is_row = line.trim_start().starts_with('|');
        if is_row && !known.iter().any(|place| place.contains(&(at + indent))) {
            faults.push(line_at(text, at));
        }
        at += line.len();
    }
    (count, faults)
}

#[test]
fn every_table_is_one_and_every_row_is_whole() -> Result<()> {
    let mut all = 0;
    for page in &PAGES {
        let (count, faults) = tables(page.text);
        ensure!(faults.is_empty(), "{}, lines {faults:?}", page.path);
        all += count;
    }
    ensure!(all > 30, "{all} tables");
    Ok(())
}

#[test]
fn torn_tables_and_rows_that_are_not_whole_are_seen() {
    let head = "text\n\n| a | b |\n|---|---|\n";
    for (rest, expected) in [
        ("| 1 | 2 |\n", vec![]),
        ("| 1 | |\n", vec![]),
        ("| `\\|` | 2\n", vec![]),
        ("| 1 |\n", vec![5]),
        ("| 1 | 2 | 3 |\n", vec![5]),
        ("| `|` | 2 |\n", vec![5]),
        ("| 1 | 2 |\n\n| 3 | 4 |\n", vec![7]),
    ] {
        assert_eq!(tables(&format!("{head}{rest}")), (1, expected), "{rest}");
    }
    let no_table = "| a | b |\n|---|\n| 1 | 2 |\n";
    assert_eq!(tables(no_table), (0, vec![1, 2, 3]));
    let code = "```\n| a |\n```\n";
    assert_eq!(tables(code), (0, vec![]));
}
