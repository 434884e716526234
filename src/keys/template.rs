//! One line of the key layout: a template, and every way to read a key by it.
//!
//! Bytes only. An id and a swarm begin behind a colon and end at a colon or at the end of the key; the caller that
//! makes a template checks that its fixed parts do.

use memchr::memmem;

use crate::keys::family::Family;
use crate::keys::reading::{Reading, SegmentCounts};
use crate::keys::slots::Part;

/// What stands between the fixed beginning and the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    Nothing,
    /// `{swarm}` and this text, which begins and ends with a colon.
    Swarm(Box<[u8]>),
    /// `*` and this text, which is empty or ends with a colon.
    Star(Box<[u8]>),
}

/// What stands behind the id. The text is empty or begins with a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// This text, and the key ends.
    Closed(Box<[u8]>),
    /// This text and `*`.
    Open(Box<[u8]>),
}

/// One line of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub family: Family,
    /// How every key of this line begins; it ends with a colon.
    pub prefix: Box<[u8]>,
    pub lead: Lead,
    pub tail: Tail,
}

impl Template {
    /// Whether the extent of the id is left so open that each segment begins or ends one.
    pub fn is_open(&self) -> bool {
        let lead_is_open = match &self.lead {
            Lead::Nothing => true,
            Lead::Star(text) => text.is_empty(),
            Lead::Swarm(_) => false,
        };
        lead_is_open && matches!(&self.tail, Tail::Open(text) if text.is_empty())
    }

    /// Whether a reading needs the number of segments of known ids.
    pub fn needs_counts(&self) -> bool {
        matches!(
            (&self.lead, &self.tail),
            (Lead::Star(_), _) | (_, Tail::Open(_))
        )
    }

    /// What is behind the fixed beginning, if the key has it.
    pub fn rest<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        name.strip_prefix(&*self.prefix)
    }

    /// Whether there is a way to read the key `name`.
    pub fn fits(&self, name: &[u8]) -> bool {
        let ends = self
            .rest(name)
            .and_then(|rest| Some((self.earliest_start(rest)?, self.latest_end(rest)?)));
        ends.is_some_and(|(start, end)| start < end)
    }

    fn earliest_start(&self, rest: &[u8]) -> Option<usize> {
        let behind = |from: usize, text: &[u8]| {
            let at = memmem::find(rest.get(from..)?, text)?;
            Some(at.saturating_add(from).saturating_add(text.len()))
        };
        match &self.lead {
            Lead::Nothing => Some(0),
            Lead::Star(text) if text.is_empty() => Some(0),
            Lead::Star(text) => behind(0, text),
            // The swarm may not be empty.
            Lead::Swarm(text) => behind(1, text),
        }
    }

    fn latest_end(&self, rest: &[u8]) -> Option<usize> {
        match &self.tail {
            Tail::Closed(text) => Some(without_end(rest, text)?.len()),
            Tail::Open(text) if text.is_empty() => Some(rest.len()),
            Tail::Open(text) => memmem::rfind(rest, text),
        }
    }

    /// Every way to read the key `name`, until `visit` returns false, and then this does, too. Those that leave the
    /// id's extent open are limited to ids whose number of segments is in `known`, and come only if that is given.
    pub fn readings(
        &self,
        name: &[u8],
        known: Option<&SegmentCounts>,
        visit: &mut dyn FnMut(Reading) -> bool,
    ) -> bool {
        let Some(rest) = self.rest(name) else {
            return true;
        };
        let start = self.prefix.len();
        match (&self.lead, &self.tail, known) {
            (Lead::Nothing, Tail::Closed(text), _) => {
                let body = without_end(rest, text).unwrap_or_default();
                let id = (start, start.saturating_add(body.len()));
                body.is_empty() || visit(Reading { swarm: None, id })
            }
            (Lead::Swarm(marker), Tail::Closed(text), _) => {
                scoped_readings(rest, start, marker, text, visit)
            }
            (Lead::Nothing, Tail::Open(text), Some(known)) => {
                head_readings(rest, start, text, known, visit)
            }
            (_, _, Some(known)) => self.run_readings(rest, start, known, visit),
            _ => true,
        }
    }

    /// The readings of a name with a swarm whose id begins at `from` or later, looking at nothing before that but how
    /// the name begins. Of the swarms only the end may be seen.
    pub fn readings_at_end(&self, name: &[u8], from: usize, visit: &mut dyn FnMut(Reading)) {
        let (Lead::Swarm(marker), Tail::Closed(suffix)) = (&self.lead, &self.tail) else {
            return;
        };
        // The marker, and a byte of the swarm.
        let before = marker.len().saturating_add(1);
        let start = from.saturating_sub(before).max(self.prefix.len());
        if let Some(rest) = self.rest(name).and_then(|_| name.get(start..)) {
            scoped_readings(rest, start, marker, suffix, &mut |reading| {
                visit(reading);
                true
            });
        }
    }

    /// The readings of ids that may begin or end at many places.
    fn run_readings(
        &self,
        rest: &[u8],
        start: usize,
        known: &SegmentCounts,
        visit: &mut dyn FnMut(Reading) -> bool,
    ) -> bool {
        let Some(latest_end) = self.latest_end(rest) else {
            return true;
        };
        // Segment k reaches from just behind bounds[k] to bounds[k + 1], counted from one byte before the rest, so
        // that the first segment needs no special case.
        let mut bounds = Vec::with_capacity(16);
        bounds.push(0);
        bounds.extend(memchr::memchr_iter(b':', rest).map(|at| at.saturating_add(1)));
        bounds.push(rest.len().saturating_add(1));
        for count in known.iter() {
            let ends = bounds.iter().skip(count);
            for (from, to) in bounds.iter().zip(ends) {
                // `to` is one past the colon that ends the run.
                let end = to.saturating_sub(1);
                if *from >= end || !self.may_end(rest, end, latest_end) {
                    continue;
                }
                if let Some(swarm) = self.swarm_before(rest, *from) {
                    let shift = |at: usize| start.saturating_add(at);
                    let reading = Reading {
                        swarm: swarm.map(|length| (start, shift(length))),
                        id: (shift(*from), shift(end)),
                    };
                    if !visit(reading) {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn may_end(&self, rest: &[u8], end: usize, latest_end: usize) -> bool {
        match &self.tail {
            Tail::Closed(_) => end == latest_end,
            Tail::Open(text) => rest
                .get(end..)
                .is_some_and(|behind| begins_with(behind, text)),
        }
    }

    /// `None` if no id begins at `from`; otherwise the length of the swarm, if there is one.
    fn swarm_before(&self, rest: &[u8], from: usize) -> Option<Option<usize>> {
        let before = rest.get(..from)?;
        match &self.lead {
            Lead::Nothing => before.is_empty().then_some(None),
            Lead::Star(text) => without_end(before, text).map(|_| None),
            Lead::Swarm(text) => {
                let swarm = without_end(before, text)?;
                (!swarm.is_empty()).then_some(Some(swarm.len()))
            }
        }
    }

    /// The keys of an id, as far as they are known: `swarm` and `star` stand where the template says so before the
    /// id.
    pub fn parts<'t>(&'t self, swarm: Part<'t>, star: Part<'t>, id: &'t [u8]) -> [Part<'t>; 6] {
        const NOTHING: Part = Part::Text(&[]);
        let (lead, marker) = match &self.lead {
            Lead::Nothing => (NOTHING, NOTHING),
            Lead::Swarm(text) => (swarm, Part::Text(text)),
            Lead::Star(text) => (star, Part::Text(text)),
        };
        let (tail, rest) = match &self.tail {
            Tail::Closed(text) => (Part::Text(text), NOTHING),
            Tail::Open(text) => (Part::Text(text), Part::Any),
        };
        [
            Part::Text(&self.prefix),
            lead,
            marker,
            Part::Text(id),
            tail,
            rest,
        ]
    }

    /// The key of an id, in a swarm if the template has one; `None` if the one is given and the other is not, or if
    /// the template does not say every byte of the key.
    pub fn key(&self, swarm: Option<&[u8]>, id: &[u8]) -> Option<Vec<u8>> {
        match (&self.lead, &self.tail, swarm) {
            (Lead::Nothing, Tail::Closed(text), None) => {
                Some([&*self.prefix, id, &**text].concat())
            }
            (Lead::Swarm(marker), Tail::Closed(text), Some(swarm)) => {
                Some([&*self.prefix, swarm, &**marker, id, &**text].concat())
            }
            _ => None,
        }
    }
}

// Most templates have no text at these places. To compare nothing at all is slow: the address of an empty box is
// none, and some processors take a long time over that.

fn begins_with(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.starts_with(text)
}

fn without_end<'b>(bytes: &'b [u8], text: &[u8]) -> Option<&'b [u8]> {
    if text.is_empty() {
        Some(bytes)
    } else {
        bytes.strip_suffix(text)
    }
}

fn head_readings(
    rest: &[u8],
    start: usize,
    text: &[u8],
    known: &SegmentCounts,
    visit: &mut dyn FnMut(Reading) -> bool,
) -> bool {
    let ends = memchr::memchr_iter(b':', rest).chain([rest.len()]);
    ends.enumerate().all(|(before, end)| {
        let goes_on = || rest.get(end..).is_some_and(|b| begins_with(b, text));
        let is_one = end > 0 && known.contains(before.saturating_add(1)) && goes_on();
        let id = (start, start.saturating_add(end));
        !is_one || visit(Reading { swarm: None, id })
    })
}

fn scoped_readings(
    rest: &[u8],
    start: usize,
    marker: &[u8],
    suffix: &[u8],
    visit: &mut dyn FnMut(Reading) -> bool,
) -> bool {
    let Some(body) = without_end(rest, suffix) else {
        return true;
    };
    // The marker may overlap with itself (`:blocking:blocking:`), so the search goes on one byte behind each find,
    // and the swarm before it may not be empty.
    let mut from = 1;
    while let Some(found) = body
        .get(from..)
        .and_then(|tail| memmem::find(tail, marker))
        .map(|at| at.saturating_add(from))
    {
        let id_start = found.saturating_add(marker.len());
        let reading = Reading {
            swarm: Some((start, start.saturating_add(found))),
            id: (
                start.saturating_add(id_start),
                start.saturating_add(body.len()),
            ),
        };
        if id_start < body.len() && !visit(reading) {
            return false;
        }
        from = found.saturating_add(1);
    }
    true
}

/// Names that nothing is removed of although a template fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Never {
    /// How such a name begins.
    pub prefix: Box<[u8]>,
    /// What follows: at least so many bytes, whatever they are, and this text; the last one ends the name.
    pub gaps: Vec<(usize, Box<[u8]>)>,
}

impl Never {
    /// Whether the name is one of these.
    pub fn fits(&self, name: &[u8]) -> bool {
        let Some(mut rest) = name.strip_prefix(&*self.prefix) else {
            return false;
        };
        let Some(((least, end), gaps)) = self.gaps.split_last() else {
            return rest.is_empty();
        };
        for (least, text) in gaps {
            // The first place will do: whatever fits behind a later one fits behind it, too.
            let behind = rest.get(*least..);
            let found = behind.and_then(|behind| {
                let at = memmem::find(behind, text)?;
                behind.get(at.saturating_add(text.len())..)
            });
            let Some(found) = found else {
                return false;
            };
            rest = found;
        }
        without_end(rest, end).is_some_and(|between| between.len() >= *least)
    }
}
