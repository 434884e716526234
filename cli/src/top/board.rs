//! What was heard of the server, as lines of text: a head, and a table of coordinators.
//! Must escape every name, and must keep within the width that it is given.

use std::time::Instant;

use unicode_width::UnicodeWidthStr;

use crate::connect::Greeting;
use crate::escape::escaped;
use crate::format::{count, cut, seconds};
use crate::progress::words;
use crate::status::Status;
use crate::top::ask::{Coordinator, List, News};

const HEADS: [&str; 7] = ["ID", "SWARM", "STATE", "AGE", "TTL", "FIELD", "TROUBLE"];
/// Numbers stand at the right of these.
const AT_RIGHT: [bool; 7] = [false, false, false, true, true, false, false];
/// Names may be long; on a screen a column gets no more than this, unless it is the last.
const WIDEST: usize = 40;
const GAP: &str = "  ";

/// How a line is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Plain,
    Title,
    Heads,
    Stale,
    Unreadable,
    Warning,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub look: Look,
    pub text: String,
}

#[derive(Default)]
pub struct Board {
    server: String,
    greeting: Greeting,
    status: Option<Result<Box<Status>, String>>,
    list: Option<(List, Instant)>,
    /// Why the list is not new.
    busy: Option<String>,
    /// Why nothing is new.
    away: Option<String>,
}

impl Board {
    pub fn new(server: String) -> Self {
        Self {
            server,
            ..Self::default()
        }
    }

    pub fn hear(&mut self, news: News) {
        match news {
            News::Look(greeting, status) => {
                (self.greeting, self.status, self.away) = (greeting, Some(status), None);
            }
            News::List(list) => {
                (self.list, self.busy) = (Some((list, Instant::now())), None);
            }
            News::Busy(why) => self.busy = Some(why),
            News::Away(why) => self.away = Some(why),
            News::Failed(failure) => self.busy = Some(failure.to_string()),
        }
    }

    /// How many coordinators there are in the table, if there is one.
    pub fn shown(&self) -> Option<usize> {
        self.list.as_ref().map(|(list, _)| list.coordinators.len())
    }

    /// All there is to say; on a screen of that width no line is wider.
    pub fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let mut lines = vec![self.title()];
        lines.extend(self.module());
        lines.push(self.counts());
        lines.extend(self.remarks());
        if let Some((list, _)) = &self.list {
            lines.push(line(Look::Plain, String::new()));
            lines.extend(table(
                &list.coordinators,
                width.map_or(usize::MAX, |_| WIDEST),
            ));
        }
        if let Some(width) = width {
            for line in &mut lines {
                line.text = cut(&line.text, width);
            }
        }
        lines
    }

    fn title(&self) -> Line {
        let Greeting {
            server,
            version,
            role,
            ..
        } = &self.greeting;
        let kind = match server.as_str() {
            "redis" => "Redis",
            "valkey" => "Valkey",
            other => other,
        };
        let known = [kind, version, role].map(String::from);
        let known: Vec<String> = known.into_iter().filter(|word| !word.is_empty()).collect();
        line(
            Look::Title,
            format!("blocking-cleanup  {}  {}", self.server, known.join(" ")),
        )
    }

    /// What the module does, and what the schedule will do.
    fn module(&self) -> Vec<Line> {
        let status = match &self.status {
            None => return vec![line(Look::Plain, "module: ...".to_owned())],
            Some(Err(why)) => return vec![line(Look::Warning, format!("module: {why}"))],
            Some(Ok(status)) => status,
        };
        let mut lines = vec![line(Look::Plain, format!("module: {}", doing(status)))];
        let schedule = &status.schedule;
        let mut said = match (schedule.interval_s, schedule.next_run_s) {
            (0, _) => "off".to_owned(),
            (every, None) => format!("every {}, no run due", seconds(every)),
            (every, Some(next)) => {
                format!("every {}, next run in {}", seconds(every), seconds(next))
            }
        };
        if schedule.interval_s > 0 && schedule.dry_run {
            said.push_str(", dry runs");
        }
        lines.push(line(Look::Plain, format!("schedule: {said}")));
        if schedule.warm_up_left_s > 0 {
            let left = seconds(schedule.warm_up_left_s);
            let text = format!("warm-up: {left} left, living coordinators may look dead");
            lines.push(line(Look::Warning, text));
        }
        lines.extend(schedule.breakers_open.iter().map(|open| {
            let reason = escaped(&open.reason);
            line(
                Look::Warning,
                format!("database {}: {reason}", open.database),
            )
        }));
        lines
    }

    fn counts(&self) -> Line {
        let Some((list, _)) = &self.list else {
            return line(Look::Plain, "coordinators: ...".to_owned());
        };
        let mut text = format!(
            "coordinators: {} live, {} stale (more than {}), {} unreadable",
            count(list.coordinators_live),
            count(list.coordinators_stale),
            seconds(list.threshold_s),
            count(list.coordinators_unreadable)
        );
        let shown = list.coordinators.len() as u64;
        if list.coordinators_matched != shown {
            let of = count(list.coordinators_matched);
            text.push_str(&format!("; {} of {of} shown", count(shown)));
        }
        line(Look::Plain, text)
    }

    fn remarks(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let list = self.list.as_ref();
        if let Some(why) = &self.busy {
            let age = list
                .map(|(_, at)| format!("the table is {} old: ", seconds(at.elapsed().as_secs())));
            lines.push(line(Look::Warning, age.unwrap_or_default() + why));
        }
        if let Some(why) = &self.away {
            lines.push(line(Look::Warning, format!("no answer: {why}")));
        }
        let said = list
            .into_iter()
            .flat_map(|(list, _)| [&list.reason, &list.note]);
        lines.extend(said.flatten().map(|said| line(Look::Plain, escaped(said))));
        lines
    }
}

fn line(look: Look, text: String) -> Line {
    Line { look, text }
}

fn doing(status: &Status) -> String {
    let Some(current) = &status.current else {
        return escaped(&status.state);
    };
    let kind = match (&current.look, current.scheduled, current.dry_run) {
        (Some(look), ..) => escaped(look),
        (None, true, false) => "a scheduled run".to_owned(),
        (None, true, true) => "a scheduled dry run".to_owned(),
        (None, false, false) => "a cleanup".to_owned(),
        (None, false, true) => "a dry run".to_owned(),
    };
    format!(
        "{kind}, run {} in database {}, {}%: {}",
        current.run,
        current.database,
        current.progress_percent,
        words(status, current)
    )
}

fn cells(one: &Coordinator) -> [String; 7] {
    let name = |name: &Option<String>| name.as_deref().map_or_else(|| "-".to_owned(), escaped);
    let time = |s: Option<i64>| match s {
        None => "-".to_owned(),
        Some(s) if s < 0 => format!("-{}", seconds(s.unsigned_abs())),
        Some(s) => seconds(s.unsigned_abs()),
    };
    [
        escaped(&one.id),
        name(&one.swarm),
        escaped(&one.state),
        time(one.age_s),
        time(one.ttl_s),
        name(&one.field),
        name(&one.trouble),
    ]
}

/// Columns as wide as what is in them, those before the last up to a bound.
fn table(coordinators: &[Coordinator], widest: usize) -> Vec<Line> {
    let rows: Vec<[String; 7]> = coordinators.iter().map(cells).collect();
    let heads = HEADS.map(str::to_owned);
    let mut widths = [0; 7];
    for row in rows.iter().chain([&heads]) {
        for (at, (width, cell)) in widths.iter_mut().zip(row).enumerate() {
            // Behind the last one there is nothing that it could push away.
            let is_last = at + 1 == HEADS.len();
            let bound = if is_last { usize::MAX } else { widest };
            *width = cell.width().min(bound).max(*width);
        }
    }
    let text = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).zip(AT_RIGHT);
        let cells = cells.map(|((cell, width), at_right)| padded(cell, width, at_right));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    let mut lines = vec![line(Look::Heads, text(&heads))];
    lines.extend(rows.iter().zip(coordinators).map(|(row, one)| {
        let look = match one.state.as_str() {
            "stale" => Look::Stale,
            "unreadable" => Look::Unreadable,
            _ => Look::Plain,
        };
        line(look, text(row))
    }));
    lines
}

fn padded(cell: &str, width: usize, at_right: bool) -> String {
    let cell = cut(cell, width);
    let blank = " ".repeat(width.saturating_sub(cell.width()));
    match at_right {
        true => blank + &cell,
        false => cell + &blank,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    fn board() -> Board {
        let mut board = Board::new("127.0.0.1:6379".to_owned());
        let greeting = Greeting {
            server: "valkey".to_owned(),
            version: "9.1.2".to_owned(),
            role: "master".to_owned(),
            ..Greeting::default()
        };
        let status = r#"{"state":"reaping","current":{"run":7,"database":0,"scheduled":true,"progressPercent":42,
            "keysRemoved":12},"schedule":{"intervalS":300,"nextRunS":61,"warmUpLeftS":5,
            "breakersOpen":[{"database":3,"reason":"breaker: 38 of 40\u001b"}]}}"#;
        board.hear(News::Look(
            greeting,
            serde_json::from_str(status).map_err(|e| e.to_string()),
        ));
        let list = r#"{"thresholdS":600,"coordinatorsLive":1200,"coordinatorsStale":1,"coordinatorsUnreadable":1,
            "coordinatorsMatched":1202,"coordinators":[
            {"id":"dead\u001b[2J","swarm":"s","state":"stale","ageS":90000,"ttlS":30,"field":"t","trouble":null},
            {"id":"live","swarm":null,"state":"live","ageS":-61,"ttlS":null,"field":null,"trouble":null},
            {"id":"odd","swarm":null,"state":"unreadable","ageS":null,"ttlS":null,"field":null,"trouble":"no time"}]}"#;
        board.hear(News::List(serde_json::from_str(list).expect("JSON")));
        board
    }

    #[test]
    fn the_board_shows_what_was_heard() {
        let mut board = board();
        let lines = board.lines(None);
        assert_eq!(
            texts(&lines),
            [
                "blocking-cleanup  127.0.0.1:6379  Valkey 9.1.2 master",
                "module: a scheduled run, run 7 in database 0, 42%: reaping, 12 keys removed",
                "schedule: every 5m 0s, next run in 1m 1s",
                "warm-up: 5s left, living coordinators may look dead",
                r"database 3: breaker: 38 of 40\x1b",
                "coordinators: 1,200 live, 1 stale (more than 10m 0s), 1 unreadable; 3 of 1,202 shown",
                "",
                "ID           SWARM  STATE          AGE  TTL  FIELD  TROUBLE",
                r"dead\x1b[2J  s      stale        1d 1h  30s  t      -",
                "live         -      live        -1m 1s    -  -      -",
                "odd          -      unreadable       -    -  -      no time",
            ]
        );
        assert_eq!(lines[8].look, Look::Stale);
        board.hear(News::Busy("INPROGRESS a cleanup is running".to_owned()));
        board.hear(News::Away("it is gone".to_owned()));
        let lines = board.lines(None);
        assert_eq!(
            texts(&lines)[6..8],
            [
                "the table is 0s old: INPROGRESS a cleanup is running",
                "no answer: it is gone"
            ]
        );
        assert_eq!(lines.len(), 13);
    }

    #[test]
    fn nothing_is_wider_than_the_screen() {
        for width in 0..60 {
            for line in board().lines(Some(width)) {
                assert!(line.text.width() <= width, "{width}: {}", line.text);
            }
        }
    }

    #[test]
    fn long_names_are_cut_on_a_screen_only() {
        let long = "x".repeat(60);
        let one = Coordinator {
            id: long.clone(),
            trouble: Some(long.clone()),
            ..Coordinator::default()
        };
        let list = List {
            coordinators: vec![one],
            ..List::default()
        };
        let mut board = Board::default();
        board.hear(News::List(list));
        let row = |width| board.lines(width).pop().map(|line| line.text);
        let whole = row(None).unwrap_or_default();
        assert!(whole.starts_with(&long) && whole.ends_with(&long));
        let cut = row(Some(200)).unwrap_or_default();
        assert!(cut.starts_with(&format!("{}~ ", "x".repeat(39))) && cut.ends_with(&long));
    }

    #[test]
    fn an_empty_board_is_one_too() {
        let board = Board::new("here".to_owned());
        let lines = board.lines(Some(80));
        assert_eq!(
            texts(&lines),
            [
                "blocking-cleanup  here  ",
                "module: ...",
                "coordinators: ..."
            ]
        );
    }
}
