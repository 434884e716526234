//! What `BLOCKING.LIST`, `BLOCKING.EXPLAIN` and `BLOCKING.DOCTOR` are asked: queries, which change nothing.

use crate::commands::args::Given;
use crate::commands::table::{DOCTOR, EXPLAIN, LIST};
use crate::heartbeat::state::State;
use crate::keys::name_bounds::MAX_NAME_BYTES;
use crate::keys::pattern::Pattern;
use crate::reply::error::Error;

/// How many coordinators LIST lists unless told.
pub const COUNT_DEFAULT: u32 = 100;

/// What `BLOCKING.LIST` was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ListOptions {
    /// List these only.
    pub state: Option<State>,
    pub threshold_s: Option<u32>,
    pub pattern: Option<Pattern>,
    pub count: u32,
    pub json: bool,
}

/// What `BLOCKING.EXPLAIN` was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainOptions {
    pub id: Vec<u8>,
    pub threshold_s: Option<u32>,
    pub json: bool,
}

/// What `BLOCKING.DOCTOR` was asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DoctorOptions {
    pub json: bool,
}

/// Reads the arguments of `BLOCKING.LIST`, the command name left out.
pub fn parse_list(args: &[&[u8]]) -> Result<ListOptions, Error> {
    let given = Given::read(&LIST, args)?;
    // Their keywords are their words in replies.
    let mut states = [State::Stale, State::Live, State::Unreadable].into_iter();
    Ok(ListOptions {
        state: states.find(|state| given.has(state.word())),
        threshold_s: given.integer("THRESHOLD"),
        pattern: given.pattern("MATCH"),
        count: given.integer("COUNT").unwrap_or(COUNT_DEFAULT),
        json: given.has("JSON"),
    })
}

/// Reads the arguments of `BLOCKING.EXPLAIN`, the command name left out. The first is the id, whatever it looks like.
pub fn parse_explain(args: &[&[u8]]) -> Result<ExplainOptions, Error> {
    let id = args.first().copied().unwrap_or_default();
    let options = args.get(1..).unwrap_or_default();
    if id.is_empty() || id.len() > MAX_NAME_BYTES {
        let got_bytes = id.len();
        return Err(Error::IdLength { got_bytes });
    }
    let given = Given::read(&EXPLAIN, options)?;
    Ok(ExplainOptions {
        id: id.to_vec(),
        threshold_s: given.integer("THRESHOLD"),
        json: given.has("JSON"),
    })
}

/// Reads the arguments of `BLOCKING.DOCTOR`, the command name left out.
pub fn parse_doctor(args: &[&[u8]]) -> Result<DoctorOptions, Error> {
    let json = Given::read(&DOCTOR, args)?.has("JSON");
    Ok(DoctorOptions { json })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        words.map(str::as_bytes).collect()
    }

    fn list(line: &str) -> Result<ListOptions, String> {
        parse_list(&words(line)).map_err(|error| error.to_string())
    }

    fn explain(line: &str) -> Result<ExplainOptions, String> {
        parse_explain(&words(line)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_of_list() {
        let none = list("").unwrap();
        assert_eq!(
            (none.state, none.threshold_s, none.count),
            (None, None, 100)
        );
        assert!(none.pattern.is_none() && !none.json);
        let all = list("count 1000 Match a* json THRESHOLD 1 unreadable").unwrap();
        assert_eq!(all.state, Some(State::Unreadable));
        assert_eq!((all.threshold_s, all.count), (Some(1), 1_000));
        assert!(all.pattern.unwrap().matches(b"ab") && all.json);
        for (line, state) in [("STALE", State::Stale), ("live", State::Live)] {
            assert_eq!(list(line).unwrap().state, Some(state));
        }
    }

    #[test]
    fn options_of_explain() {
        let plain = explain("a").unwrap();
        assert_eq!((plain.id.as_slice(), plain.threshold_s), (&b"a"[..], None));
        // The first word is the id, even if it is spelled like an option.
        let all = explain("JSON json threshold 5").unwrap();
        assert_eq!(
            (all.id.as_slice(), all.threshold_s),
            (&b"JSON"[..], Some(5))
        );
        assert!(all.json);
        let binary: &[&[u8]] = &[b"\xff*\x00:"];
        assert_eq!(parse_explain(binary).unwrap().id, b"\xff*\x00:");
    }

    #[test]
    fn what_is_refused() {
        let accepted = "accepted are STALE, LIVE, UNREADABLE, THRESHOLD, MATCH, COUNT, JSON";
        let count = "an integer from 1 to 1000 coordinators";
        let table = [
            (
                "ids 5",
                format!("ERR unknown option 'ids' for BLOCKING.LIST; {accepted}"),
            ),
            ("COUNT", format!("ERR COUNT needs a value: {count}")),
            ("COUNT 0", format!("ERR COUNT must be {count}, got '0'")),
            (
                "COUNT 1001",
                format!("ERR COUNT must be {count}, got '1001'"),
            ),
            (
                "STALE LIVE",
                "ERR at most one of STALE, LIVE and UNREADABLE is accepted".into(),
            ),
            (
                "LIVE LIVE",
                "ERR LIVE is given more than once; each option is accepted at most once".into(),
            ),
        ];
        for (line, error) in table {
            assert_eq!(list(line).unwrap_err(), error, "{line}");
        }
        for (args, got) in [(vec![], 0), (vec![&b""[..]], 0)] {
            let error = Error::IdLength { got_bytes: got };
            assert_eq!(parse_explain(&args).unwrap_err(), error);
        }
        let long = vec![b'x'; MAX_NAME_BYTES + 1];
        assert!(parse_explain(&[&long]).is_err());
        assert!(parse_explain(&[&long[1..]]).is_ok());
        assert_eq!(
            explain("a STALE").unwrap_err(),
            "ERR unknown option 'STALE' for BLOCKING.EXPLAIN; accepted are THRESHOLD, JSON"
        );
    }

    #[test]
    fn options_of_doctor() {
        assert!(!parse_doctor(&[]).unwrap().json);
        assert!(parse_doctor(&[b"json"]).unwrap().json);
        let table: [(&[&[u8]], &str); 2] = [
            (
                &[b"THRESHOLD"],
                "ERR unknown option 'THRESHOLD' for BLOCKING.DOCTOR; accepted is JSON",
            ),
            (
                &[b"JSON", b"JSON"],
                "ERR JSON is given more than once; each option is accepted at most once",
            ),
        ];
        for (args, error) in table {
            assert_eq!(parse_doctor(args).unwrap_err().to_string(), error);
        }
    }
}
