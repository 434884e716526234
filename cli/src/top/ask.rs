//! What the view asks, and how often. The status comes through one connection and the list through another, so that a
//! walk does not keep the status waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::args::TopOptions;
use crate::connect::{Greeting, Link, Target, ask, greeting};
use crate::failure::{Failure, is_lost, server_text};
use crate::status::{NoStatus, Status, status};

const COMMAND: &str = "BLOCKING.LIST";
/// A walk is followed by so many times its own length of rest.
const REST_TIMES: u32 = 10;

/// The answer of BLOCKING.LIST.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct List {
    pub coordinators: Vec<Coordinator>,
    pub coordinators_live: u64,
    pub coordinators_stale: u64,
    pub coordinators_unreadable: u64,
    pub coordinators_matched: u64,
    pub threshold_s: u64,
    pub reason: Option<String>,
    pub note: Option<String>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Coordinator {
    pub id: String,
    pub swarm: Option<String>,
    pub state: String,
    pub age_s: Option<i64>,
    pub ttl_s: Option<i64>,
    pub field: Option<String>,
    pub trouble: Option<String>,
}

/// Something was heard of the server.
pub enum News {
    /// What it is, and what the module does; or why the module does not say.
    Look(Greeting, Result<Box<Status>, String>),
    List(List),
    /// No new list for now, and why: a run is on.
    Busy(String),
    /// No answer for now, and why.
    Away(String),
    /// No list ever.
    Failed(Failure),
}

/// Why there is no answer.
pub enum NoAnswer {
    Lost(String),
    Busy(String),
    Failed(Failure),
}

impl From<NoAnswer> for Failure {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Lost(why) | NoAnswer::Busy(why) => Self::error(why),
            NoAnswer::Failed(failure) => failure,
        }
    }
}

/// What the server is and does now. The greeting has the role, and every user may ask for it.
pub fn look(link: &mut Link) -> Result<News, NoAnswer> {
    let hello = redis::cmd("HELLO").arg(2).query(&mut link.conn);
    let hello = hello.map_err(|error| NoAnswer::Lost(server_text(&error)))?;
    match status(&mut link.conn) {
        Ok(status) => Ok(News::Look(greeting(hello), Ok(status.into()))),
        Err(NoStatus::Untold(failure)) => Ok(News::Look(greeting(hello), Err(failure.to_string()))),
        Err(NoStatus::Lost(failure)) => Err(NoAnswer::Lost(failure.to_string())),
    }
}

pub fn list(link: &mut Link, words: Vec<Vec<u8>>) -> Result<News, NoAnswer> {
    let answer = ask(&mut link.conn, COMMAND, &words);
    let json = answer.map_err(|error| match error.code() {
        Some("INPROGRESS" | "CANCELLED" | "INTERRUPTED" | "LOADING" | "BUSY" | "MASTERDOWN") => {
            NoAnswer::Busy(server_text(&error))
        }
        _ if is_lost(&error) => NoAnswer::Lost(server_text(&error)),
        _ => NoAnswer::Failed(Failure::of_command(COMMAND, &error)),
    })?;
    let list = serde_json::from_slice(&json).map_err(|error| {
        let text = format!("the answer of {COMMAND} is not understood: {error}");
        NoAnswer::Failed(Failure::error(text))
    })?;
    Ok(News::List(list))
}

/// Asks for both until nobody hears it any more.
pub fn watch(
    target: &Target,
    options: TopOptions,
    rows: &Arc<AtomicUsize>,
    heard: &Sender<News>,
) -> Result<(), Failure> {
    let every = Duration::from_secs_f64(options.interval);
    // The first connections are made here, so that a wrong password ends the view before it begins.
    let mut links = [target.connect()?, target.connect()?].into_iter();
    let (first, second) = (links.next(), links.next());
    let (told, server) = (heard.clone(), target.clone());
    spawn(move || repeat(&server, first, &told, look, |_| every));
    let (told, server, rows) = (heard.clone(), target.clone(), Arc::clone(rows));
    let walk = move |link: &mut Link| list(link, options.words(rows.load(Ordering::Relaxed)));
    let rest = move |took| rest(every, took);
    spawn(move || repeat(&server, second, &told, walk, rest));
    Ok(())
}

fn repeat(
    target: &Target,
    mut link: Option<Link>,
    heard: &Sender<News>,
    ask: impl Fn(&mut Link) -> Result<News, NoAnswer>,
    rest: impl Fn(Duration) -> Duration,
) {
    loop {
        let started = Instant::now();
        let news = match &mut link {
            Some(link) => ask(link),
            None => target.connect().map_or_else(
                |failure| Err(NoAnswer::Lost(failure.to_string())),
                |new| ask(link.insert(new)),
            ),
        };
        let took = started.elapsed();
        let news = match news {
            Ok(news) => news,
            Err(NoAnswer::Failed(failure)) => News::Failed(failure),
            Err(NoAnswer::Busy(why)) => News::Busy(why),
            Err(NoAnswer::Lost(why)) => {
                link = None;
                News::Away(why)
            }
        };
        if heard.send(news).is_err() {
            return;
        }
        sleep(rest(took));
    }
}

/// How long to leave the server alone after a walk that took so long.
fn rest(every: Duration, took: Duration) -> Duration {
    every.max(took * REST_TIMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_walk_is_followed_by_a_long_rest() {
        let ms = Duration::from_millis;
        assert_eq!(rest(ms(2_000), ms(5)), ms(2_000));
        assert_eq!(rest(ms(2_000), ms(900)), ms(9_000));
    }
}
