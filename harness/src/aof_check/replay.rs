//! Replays the commands of the append-only file, and checks that no removal breaks the promise.
//!
//! The server's own file gives the one order in which beats and removals took place; marks in it, whose time the
//! server told, give the clock. So nothing here depends on when a writer or this test thought that something happened.
//! Must check by the file, the log of beats and the reading of names alone, never by what the module says.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::{Context, Result, bail};

use super::beats::BeatLog;
use super::claims::{self, Heartbeats};
use super::marks::{MARK, Mark, Marks, Scope};

/// Enough to understand what went wrong; a broken build has thousands.
const FINDINGS_SHOWN: usize = 20;
/// A heartbeat whose TTL passes this soon after a run may have been gone already, though the file does not say so yet.
const EXPIRY_MARGIN_MS: i64 = 2_000;

/// What a replay counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    pub heartbeats_written: u64,
    pub keys_removed: u64,
    pub heartbeats_removed: u64,
    /// Keys removed although a possible owner had beaten within the threshold.
    pub live_keys_lost: u64,
    /// Removals so close to the threshold that the clock cannot tell on which side they were.
    pub too_close: u64,
    /// Keys that were due when a run began, and kept because a dead owner beat again during the run.
    pub kept_for_revived: u64,
    /// The same for an owner that had no heartbeat when the run began.
    pub kept_for_newborn: u64,
    /// Keys that a run had to remove, and did.
    pub due_and_gone: u64,
}

impl ReplayCounts {
    pub fn add(&mut self, other: &Self) {
        self.heartbeats_written += other.heartbeats_written;
        self.keys_removed += other.keys_removed;
        self.heartbeats_removed += other.heartbeats_removed;
        self.live_keys_lost += other.live_keys_lost;
        self.too_close += other.too_close;
        self.kept_for_revived += other.kept_for_revived;
        self.kept_for_newborn += other.kept_for_newborn;
        self.due_and_gone += other.due_and_gone;
    }
}

/// What one run removed, by the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub keys: u64,
    pub heartbeats: u64,
}

/// The server's data as they were at one place of the file.
pub struct Replay<'l> {
    beats: &'l BeatLog,
    marks: &'l Marks,
    /// Every key, with the time its TTL ends.
    keys: HashMap<Vec<u8>, Option<i64>>,
    /// The time of the last beat of every heartbeat there ever was, and where it stands in the file.
    last_beats: HashMap<Vec<u8>, (i64, u64)>,
    /// Heartbeats that are there.
    standing: Heartbeats,
    /// These, and those that the run under way has removed.
    followed: Heartbeats,
    /// Heartbeats that ever were.
    ever: Heartbeats,
    run: Option<Run>,
    runs: HashMap<u64, Removed>,
    /// Removals since the last mark.
    unchecked: Vec<Removal>,
    last_mark_ms: i64,
    commands: u64,
    counts: ReplayCounts,
    findings: Vec<String>,
    findings_left_out: u64,
}

/// A run under way.
struct Run {
    number: u64,
    threshold_s: i64,
    scope: Scope,
    removed: Removed,
    heartbeats_removed: Vec<Vec<u8>>,
    /// Keys that only the dead could own when it began, with these owners.
    due: HashMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    stood_before: HashSet<Vec<u8>>,
    written: HashSet<Vec<u8>>,
    beaten: Heartbeats,
    /// Heartbeats that went in another way than by the run.
    expired: HashSet<Vec<u8>>,
}

/// A key that was removed, and whose last beat spoke most against it.
struct Removal {
    key: Vec<u8>,
    owner: Vec<u8>,
    beat_ms: i64,
    beat_place: u64,
    place: u64,
}

impl<'l> Replay<'l> {
    pub fn new(beats: &'l BeatLog, marks: &'l Marks) -> Self {
        Self {
            beats,
            marks,
            keys: HashMap::new(),
            last_beats: HashMap::new(),
            standing: Heartbeats::default(),
            followed: Heartbeats::default(),
            ever: Heartbeats::default(),
            run: None,
            runs: HashMap::new(),
            unchecked: Vec::new(),
            last_mark_ms: 0,
            commands: 0,
            counts: ReplayCounts::default(),
            findings: Vec::new(),
            findings_left_out: 0,
        }
    }

    /// Does what one command of the file did. One that this does not know is an error: it could have done anything.
    pub fn apply(&mut self, command: &[Vec<u8>]) -> Result<()> {
        self.commands += 1;
        let (name, arguments) = command.split_first().context("an empty command")?;
        match (name.to_ascii_uppercase().as_slice(), arguments) {
            (b"SELECT" | b"MULTI" | b"EXEC", _) => Ok(()),
            (b"SET", [key, value]) => self.set(key, value, None),
            (b"SET", [key, value, unit, time]) if unit.eq_ignore_ascii_case(b"PXAT") => {
                let ends_ms = std::str::from_utf8(time)?.parse()?;
                self.set(key, value, Some(ends_ms))
            }
            (b"MSET", pairs) => pairs
                .chunks(2)
                .try_for_each(|pair| self.set(&pair[0], &pair[1], None)),
            // The module sends UNLINK; the server itself, when a TTL has passed, DEL.
            (b"DEL", keys) => {
                keys.iter().for_each(|key| self.expire(key));
                Ok(())
            }
            (b"UNLINK", keys) => {
                self.remove(keys);
                Ok(())
            }
            _ => bail!(
                "a command that no client here sends: {}",
                shown_all(command)
            ),
        }
    }

    /// What was counted, what each run removed, and the keys without TTL that must be there now.
    pub fn finish(mut self) -> Outcome {
        if self.run.is_some() || !self.unchecked.is_empty() {
            self.find("the file ends in the middle of a run".to_owned());
        }
        let lasting = self.keys.into_iter().filter(|(_, ends)| ends.is_none());
        Outcome {
            counts: self.counts,
            runs: self.runs,
            lasting_keys: lasting.map(|(key, _)| key).collect(),
            findings: self.findings,
            findings_left_out: self.findings_left_out,
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], ends_ms: Option<i64>) -> Result<()> {
        self.keys.insert(key.to_vec(), ends_ms);
        if key == MARK {
            return self.mark(value);
        }
        let is_heartbeat = claims::is_heartbeat(key);
        if let Some(run) = &mut self.run {
            run.written.insert(key.to_vec());
            if is_heartbeat {
                run.beaten.insert(key);
            }
        }
        if is_heartbeat {
            let meaning_ms = self.beats.meaning_ms(value).with_context(|| {
                format!("no client wrote {} to {}", value.escape_ascii(), shown(key))
            })?;
            self.last_beats
                .insert(key.to_vec(), (meaning_ms, self.commands));
            self.standing.insert(key);
            self.followed.insert(key);
            self.ever.insert(key);
            self.counts.heartbeats_written += 1;
        }
        Ok(())
    }

    fn expire(&mut self, key: &[u8]) {
        match self.keys.remove(key) {
            Some(Some(_)) => {}
            there => self.find(format!("DEL of {}, a key with {there:?}", shown(key))),
        }
        if self.standing.contains(key) {
            self.standing.remove(key);
            self.followed.remove(key);
            if let Some(run) = &mut self.run {
                run.expired.insert(key.to_vec());
            }
        }
    }

    /// What one UNLINK takes goes at once, so all of it is checked before any of it is gone.
    fn remove(&mut self, keys: &[Vec<u8>]) {
        let there: Vec<&Vec<u8>> = keys.iter().filter(|k| self.keys.contains_key(*k)).collect();
        for key in &there {
            self.check_removal(key);
        }
        for key in there {
            self.keys.remove(key);
            let is_heartbeat = self.standing.contains(key);
            self.standing.remove(key);
            // Checked and found dead; a later run with a longer threshold knows nothing of it any more.
            self.last_beats.remove(key);
            self.counts.keys_removed += 1;
            self.counts.heartbeats_removed += u64::from(is_heartbeat);
            if let Some(run) = &mut self.run {
                run.removed.keys += 1;
                run.removed.heartbeats += u64::from(is_heartbeat);
                if is_heartbeat {
                    run.heartbeats_removed.push(key.clone());
                }
            }
        }
    }

    fn check_removal(&mut self, key: &[u8]) {
        match &self.run {
            None => return self.find(format!("{} was removed while no run was on", shown(key))),
            Some(run) if run.scope == Scope::Dry => {
                let number = run.number;
                self.find(format!("dry run {number} removed {}", shown(key)));
            }
            Some(_) => {}
        }
        if self.standing.owners(key, &self.standing).is_empty() {
            self.find(format!(
                "{} was removed, and no possible owner had a heartbeat",
                shown(key)
            ));
        }
        // Every heartbeat there ever was counts, whether it is still there or not. A key of a swarm that followed
        // that swarm's heartbeat when the run began does not change hands because the run removed this heartbeat first.
        let owners = self.ever.owners(key, &self.followed).into_iter();
        let beats = owners.filter_map(|owner| Some((*self.last_beats.get(&owner)?, owner)));
        if let Some(((beat_ms, beat_place), owner)) = beats.max() {
            self.unchecked.push(Removal {
                key: key.to_vec(),
                owner,
                beat_ms,
                beat_place,
                place: self.commands,
            });
        }
    }

    fn mark(&mut self, value: &[u8]) -> Result<()> {
        let now_ms = self.marks.time_ms(value)?;
        self.check_ages(now_ms);
        self.last_mark_ms = now_ms;
        match Mark::read(value)? {
            Mark::Tick => {}
            Mark::Begin {
                run,
                threshold_s,
                scope,
            } => self.begin(run, threshold_s, scope, now_ms),
            Mark::End { run } => self.end(run, now_ms),
        }
        Ok(())
    }

    /// Checks what was removed between the last mark and this one: at the later of the two times every heartbeat is
    /// older, and one that is too young even then was certainly too young.
    fn check_ages(&mut self, now_ms: i64) {
        let Some(threshold_s) = self.run.as_ref().map(|run| run.threshold_s) else {
            return;
        };
        let number = self.run.as_ref().map_or(0, |run| run.number);
        for removal in std::mem::take(&mut self.unchecked) {
            let beat_ms = removal.beat_ms;
            if !is_stale(beat_ms, now_ms, threshold_s) {
                self.counts.live_keys_lost += 1;
                self.find(format!(
                    "LIVE KEY LOST: run {number} with threshold {threshold_s} s removed {} at command {} before {now_ms} ms, \
                     but {} had beaten at {beat_ms} ms, which stands in command {}",
                    shown(&removal.key),
                    removal.place,
                    shown(&removal.owner),
                    removal.beat_place,
                ));
            } else if !is_stale(beat_ms, self.last_mark_ms, threshold_s) {
                self.counts.too_close += 1;
            }
        }
    }

    fn begin(&mut self, number: u64, threshold_s: i64, scope: Scope, now_ms: i64) {
        if self.run.is_some() {
            self.find(format!("run {number} began during another one"));
        }
        let is_dead = |owner: &Vec<u8>| {
            let beat = self.last_beats.get(owner);
            beat.is_some_and(|(beat_ms, _)| is_stale(*beat_ms, now_ms, threshold_s))
        };
        let owned = self
            .keys
            .keys()
            .map(|key| (key, self.standing.owners(key, &self.standing)));
        let due = owned
            .filter(|(_, owners)| !owners.is_empty() && owners.iter().all(is_dead))
            .map(|(key, owners)| (key.clone(), owners));
        self.run = Some(Run {
            number,
            threshold_s,
            scope,
            removed: Removed::default(),
            heartbeats_removed: Vec::new(),
            due: due.collect(),
            stood_before: self
                .keys
                .keys()
                .filter(|k| claims::is_heartbeat(k))
                .cloned()
                .collect(),
            written: HashSet::new(),
            beaten: Heartbeats::default(),
            expired: HashSet::new(),
        });
    }

    fn end(&mut self, number: u64, now_ms: i64) {
        let Some(run) = self.run.take().filter(|run| run.number == number) else {
            return self.find(format!("run {number} ended without having begun"));
        };
        // Nothing stands here: any heartbeat written meanwhile may have spoken for the key.
        let none = Heartbeats::default();
        let all = run.due.keys().chain(run.due.values().flatten());
        let ending: HashSet<&Vec<u8>> = all
            .filter(|key| self.ends_before(key, &run, now_ms + EXPIRY_MARGIN_MS))
            .collect();
        let quiet: HashSet<&Vec<u8>> = run
            .due
            .keys()
            .filter(|key| !run.written.contains(*key))
            .filter(|key| run.beaten.owners(key, &none).is_empty())
            .filter(|key| !ending.contains(*key))
            .collect();
        // A heartbeat whose TTL passes may leave the name of another one to a living coordinator. The coordinator whose
        // heartbeat that is stays, with all its keys.
        let may_change_hands = |owner: &Vec<u8>| {
            let mut others = run.due.get(owner).into_iter().flatten();
            others.any(|other| ending.contains(other))
        };
        let held = self.held_heartbeats(&run, &ending);
        let mut left_over = Vec::new();
        for (key, owners) in &run.due {
            let is_there = self.keys.contains_key(key);
            let is_sure = |owner| quiet.contains(owner) && !may_change_hands(owner);
            if quiet.contains(key)
                && !(is_there && held.contains(key))
                && owners.iter().all(is_sure)
            {
                // A run that was cut short may leave a key, but never without its heartbeat.
                let all_gone = owners.iter().all(|owner| !self.keys.contains_key(owner));
                if is_there && (run.scope == Scope::Full || all_gone) {
                    let told = owners.iter().map(|owner| {
                        let there = if self.keys.contains_key(owner) {
                            "there"
                        } else {
                            "gone"
                        };
                        format!("{} {there}", shown(owner))
                    });
                    left_over.push((key.clone(), told.collect::<Vec<_>>().join(", ")));
                }
                self.counts.due_and_gone += u64::from(!is_there);
            } else if is_there && !run.written.contains(key) && run.scope == Scope::Full {
                let speakers = run.beaten.owners(key, &none);
                let is_old = |name: &Vec<u8>| run.stood_before.contains(name);
                self.counts.kept_for_revived += u64::from(speakers.iter().any(is_old));
                self.counts.kept_for_newborn +=
                    u64::from(!speakers.is_empty() && !speakers.iter().any(is_old));
            }
        }
        for (key, owners) in left_over {
            self.find(format!(
                "run {number} ({:?}) left {}, all of whose owners were dead all the time: {owners}",
                run.scope,
                shown(&key)
            ));
        }
        for name in run.heartbeats_removed {
            if !self.standing.contains(&name) {
                self.followed.remove(&name);
            }
        }
        self.runs.insert(number, run.removed);
    }

    /// Heartbeats that may stay. Where the TTL of an owner's heartbeat passes during the run, a key of that owner
    /// stays, and can be found later only through the heartbeats of its other owners. Each of these may be another's
    /// key in turn.
    fn held_heartbeats<'r>(
        &self,
        run: &'r Run,
        ending: &HashSet<&Vec<u8>>,
    ) -> HashSet<&'r Vec<u8>> {
        let is_unsettled = |owners: &BTreeSet<Vec<u8>>| owners.iter().any(|o| ending.contains(o));
        let stays = |key: &&Vec<u8>| self.keys.contains_key(*key);
        let due = run.due.iter();
        let unsettled = due.filter(|(_, owners)| is_unsettled(owners));
        let mut staying: Vec<&Vec<u8>> = unsettled.map(|(key, _)| key).filter(stays).collect();
        let mut held = HashSet::new();
        while let Some(key) = staying.pop() {
            for owner in run.due.get(key).into_iter().flatten() {
                if stays(&owner) && held.insert(owner) {
                    staying.push(owner);
                }
            }
        }
        held
    }

    /// Whether a key's TTL, if it has one, ends so early that it may not have been there for the whole run.
    fn ends_before(&self, key: &[u8], run: &Run, ms: i64) -> bool {
        let ends_ms = self.keys.get(key).copied().flatten();
        run.expired.contains(key) || ends_ms.is_some_and(|ends_ms| ends_ms < ms)
    }

    fn find(&mut self, what: String) {
        if self.findings.len() < FINDINGS_SHOWN {
            self.findings.push(what);
        } else {
            self.findings_left_out += 1;
        }
    }
}

/// What a whole file comes to.
#[derive(Debug)]
pub struct Outcome {
    pub counts: ReplayCounts,
    pub runs: HashMap<u64, Removed>,
    pub lasting_keys: BTreeSet<Vec<u8>>,
    pub findings: Vec<String>,
    pub findings_left_out: u64,
}

/// By the page: the age is floored to whole seconds, and one that equals the threshold is not stale.
fn is_stale(beat_ms: i64, now_ms: i64, threshold_s: i64) -> bool {
    now_ms.saturating_sub(beat_ms).div_euclid(1_000) > threshold_s
}

fn shown(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

fn shown_all(command: &[Vec<u8>]) -> String {
    let words: Vec<String> = command.iter().map(|word| shown(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file by hand: `text` is one command a line, `marks` the times of its marks.
    fn replayed(text: &str, marks: &[(&str, i64)]) -> Outcome {
        let mut beats = BeatLog::default();
        for second in 0..100 {
            beats.insert(second.to_string().as_bytes(), second * 1_000);
        }
        let mut known = Marks::default();
        for (mark, second) in marks {
            known.insert((*mark).to_owned(), second * 1_000);
        }
        let mut replay = Replay::new(&beats, &known);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words = line
                .split(' ')
                .map(|word| word.replace('_', " ").into_bytes());
            replay.apply(&words.collect::<Vec<_>>()).unwrap();
        }
        replay.finish()
    }

    const TIMES: [(&str, i64); 3] = [("begin 1 3 full", 50), ("tick 0", 51), ("end 1", 52)];

    /// `a` and `a:b` are dead when the run begins; what happens in it is for the test to say.
    fn in_a_run(happens: &str) -> Outcome {
        let before = "SET blocking:heartbeat:a 10
            SET blocking:heartbeat:a:b 10
            SET blocking:ack:a:b 1
            SET fleet:mark begin_1_3_full";
        replayed(
            &format!("{before}\n{happens}\nSET fleet:mark end_1"),
            &TIMES,
        )
    }

    const ALL: &str = "blocking:ack:a:b blocking:heartbeat:a blocking:heartbeat:a:b";

    #[test]
    fn the_dead_may_go() {
        let outcome = in_a_run(&format!("UNLINK {ALL}"));
        assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
        let removed = Removed {
            keys: 3,
            heartbeats: 2,
        };
        assert_eq!(outcome.runs[&1], removed);
        assert_eq!(
            (outcome.counts.due_and_gone, outcome.counts.live_keys_lost),
            (3, 0)
        );
    }

    #[test]
    fn a_beat_before_the_removal_makes_it_a_loss() {
        for beat in [
            "SET blocking:heartbeat:a:b 50",
            "SET blocking:heartbeat:a 49 PXAT 99000",
            "MSET other 1 swarm:s:blocking:heartbeat:a 50",
        ] {
            let outcome = in_a_run(&format!("{beat}\nUNLINK blocking:ack:a:b"));
            assert_eq!(outcome.counts.live_keys_lost, 1, "{beat}: {outcome:?}");
        }
        // Afterwards it is too late, and a beat that is older than the threshold is none.
        for happens in [
            format!("UNLINK {ALL}\nSET blocking:heartbeat:a 50"),
            format!("SET blocking:heartbeat:a 46\nUNLINK {ALL}"),
        ] {
            let outcome = in_a_run(&happens);
            assert!(outcome.findings.is_empty(), "{happens}: {outcome:?}");
        }
    }

    #[test]
    fn the_age_is_that_of_the_time_between_two_marks() {
        // From 50 to 51 s: certainly 4 whole seconds old at the end, not yet so at the beginning.
        let happens = "SET blocking:heartbeat:a 47\nUNLINK blocking:ack:a:b\nSET fleet:mark tick_0";
        let counts = in_a_run(happens).counts;
        assert_eq!((counts.live_keys_lost, counts.too_close), (0, 1));
    }

    #[test]
    fn a_key_of_a_swarm_stays_with_the_heartbeat_it_had_when_the_run_began() {
        // `a` beats in swarm `s`, and as `heartbeat:a` it would own that heartbeat, if `s` had none of that name.
        let odd = "swarm:s:blocking:heartbeat:heartbeat:a";
        let before = format!(
            "SET swarm:s:blocking:heartbeat:a 10
             SET {odd} 10
             SET fleet:mark begin_1_3_full
             SET blocking:heartbeat:heartbeat:a 50"
        );
        let end = "SET fleet:mark end_1";
        let both = format!("{before}\nUNLINK {odd}\nUNLINK swarm:s:blocking:heartbeat:a\n{end}");
        assert_eq!(replayed(&both, &TIMES).counts.live_keys_lost, 0);
        let later = format!(
            "{before}\nUNLINK {odd}\n{end}\nSET fleet:mark begin_2_3_full
             UNLINK swarm:s:blocking:heartbeat:a\nSET fleet:mark end_2"
        );
        let times = [TIMES.as_slice(), &[("begin 2 3 full", 52), ("end 2", 53)]].concat();
        assert_eq!(replayed(&later, &times).counts.live_keys_lost, 1);
    }

    #[test]
    fn what_a_run_leaves_of_the_dead_is_found() {
        let outcome = in_a_run("UNLINK blocking:ack:a:b blocking:heartbeat:a");
        assert_eq!(outcome.findings.len(), 1, "{outcome:?}");
        assert!(
            outcome.findings[0].contains("left blocking:heartbeat:a:b"),
            "{outcome:?}"
        );
        // Not so where one came back, whose key stays as well.
        let outcome = in_a_run("SET blocking:heartbeat:a:b 50\nUNLINK blocking:heartbeat:a");
        assert!(outcome.findings.is_empty(), "{outcome:?}");
        assert_eq!(outcome.counts.kept_for_revived, 1);
        let outcome =
            in_a_run("SET swarm:s:blocking:heartbeat:a:b 50\nUNLINK blocking:heartbeat:a");
        assert!(outcome.findings.is_empty(), "{outcome:?}");
        assert_eq!(outcome.counts.kept_for_newborn, 2);
    }

    #[test]
    fn a_heartbeat_that_may_become_a_living_coordinators_key_may_stay_with_its_keys() {
        // The heartbeat of `a` in swarm `s` would be a key of `heartbeat:a`, which lives, as soon as that swarm has no
        // heartbeat of that name any more: and its TTL passes during the run, or has passed unnoticed before.
        let odd = "swarm:s:blocking:heartbeat:heartbeat:a";
        let before = |odd: &str| {
            format!(
                "SET swarm:s:blocking:heartbeat:a 10
                 SET swarm:s:blocking:a 1
                 SET {odd}
                 SET blocking:heartbeat:heartbeat:a 49
                 SET fleet:mark begin_1_3_full"
            )
        };
        let end = "SET fleet:mark end_1";
        for (odd, gone) in [
            (format!("{odd} 10 PXAT 51000"), String::new()),
            (format!("{odd} 10 PXAT 51000"), format!("DEL {odd}")),
        ] {
            let outcome = replayed(&format!("{}\n{gone}\n{end}", before(&odd)), &TIMES);
            assert!(outcome.findings.is_empty(), "{outcome:?}");
        }
        // It does not wait for one that stays dead.
        let outcome = replayed(&format!("{}\n{end}", before(&format!("{odd} 10"))), &TIMES);
        assert_eq!(outcome.findings.len(), 3, "{outcome:?}");
    }

    #[test]
    fn a_key_of_one_whose_ttl_passes_may_stay_with_its_other_owners_heartbeats() {
        let before = |ttl: &str| {
            format!(
                "SET blocking:heartbeat:a 10
                 SET blocking:heartbeat:a:b 10{ttl}
                 SET blocking:ack:a:b 1
                 SET blocking:ack:a 1
                 SET fleet:mark begin_1_3_full"
            )
        };
        let own = "UNLINK blocking:ack:a";
        let gone = "DEL blocking:heartbeat:a:b";
        let end = "SET fleet:mark end_1";
        let passes = before(" PXAT 51000");
        let outcome = replayed(&format!("{passes}\n{gone}\n{own}\n{end}"), &TIMES);
        assert!(outcome.findings.is_empty(), "{outcome:?}");
        // Its own key may not stay, nor the heartbeat where that key is gone or no TTL passes.
        let shared = "UNLINK blocking:ack:a:b";
        for (happens, findings) in [
            (format!("{passes}\n{gone}\n{end}"), 1),
            (format!("{passes}\n{gone}\n{own}\n{shared}\n{end}"), 1),
            (format!("{}\n{own}\n{end}", before("")), 3),
        ] {
            let outcome = replayed(&happens, &TIMES);
            assert_eq!(outcome.findings.len(), findings, "{happens}: {outcome:?}");
        }
    }

    #[test]
    fn a_run_cut_short_may_leave_keys_but_not_without_their_heartbeat() {
        let text = "SET blocking:heartbeat:a 10
            SET blocking:ack:a 1
            SET fleet:mark begin_1_3_partial";
        let times = [("begin 1 3 partial", 50), ("end 1", 52)];
        for (removed, findings) in [
            ("blocking:ack:a", 0),
            ("other", 0),
            ("blocking:heartbeat:a", 1),
        ] {
            let outcome = replayed(
                &format!("{text}\nUNLINK {removed}\nSET fleet:mark end_1"),
                &times,
            );
            assert_eq!(outcome.findings.len(), findings, "{removed}: {outcome:?}");
        }
    }

    #[test]
    fn removals_of_keys_without_owners_and_outside_of_runs_are_found() {
        let outcome = in_a_run(&format!(
            "SET coordinator:work:a 1\nUNLINK {ALL} coordinator:work:a"
        ));
        assert_eq!(outcome.findings.len(), 1, "{outcome:?}");
        assert!(
            outcome.findings[0].contains("coordinator:work:a"),
            "{outcome:?}"
        );
        let outcome = replayed(
            "SET blocking:heartbeat:a 10\nUNLINK blocking:heartbeat:a",
            &[],
        );
        assert!(outcome.findings[0].contains("no run was on"), "{outcome:?}");
        let text = "SET blocking:heartbeat:a 10
            SET fleet:mark begin_1_3_dry
            UNLINK blocking:heartbeat:a
            SET fleet:mark end_1";
        let outcome = replayed(text, &[("begin 1 3 dry", 50), ("end 1", 52)]);
        assert!(
            outcome.findings[0].contains("dry run 1 removed"),
            "{outcome:?}"
        );
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let (beats, marks) = (BeatLog::default(), Marks::default());
        let mut replay = Replay::new(&beats, &marks);
        let mut apply = |words: &[&str]| {
            let words = words.iter().map(|word| word.as_bytes().to_vec());
            replay.apply(&words.collect::<Vec<_>>())
        };
        assert!(apply(&["FLUSHALL"]).is_err());
        assert!(apply(&["SET", "k", "1", "EX", "5"]).is_err());
        assert!(apply(&["SET", "blocking:heartbeat:a", "no client wrote this"]).is_err());
        assert!(apply(&["SET", "fleet:mark", "tick 7"]).is_err());
    }
}
