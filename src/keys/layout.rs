//! The layout of keys: which key names belong to a coordinator, and to which one.
//!
//! Everything follows from the templates of `blocking.families`; nothing else knows key names. Bytes in, families and
//! possible owners out: it knows neither values nor clocks, and it never decides whether anything is removed.

use std::sync::Arc;

use crate::keys::family::Family;
use crate::keys::layout_syntax;
use crate::keys::name_bounds::{self, MAX_NAME_BYTES};
use crate::keys::reading::{Reading, SegmentCounts};
use crate::keys::template::{Never, Tail, Template};
use crate::reply::error::BadSetting;

/// The first sixteen bytes of names as one number, or as many as the beginning of a template has: most names differ
/// from most templates in these, and numbers are compared faster than names.
#[derive(Clone, Copy, Debug)]
struct Gate {
    mask: u128,
    word: u128,
}

fn word_of(bytes: &[u8]) -> u128 {
    if let Some(whole) = bytes.first_chunk::<16>() {
        return u128::from_le_bytes(*whole);
    }
    let add = |word: u128, byte: &u8| (word << 8) | u128::from(*byte);
    let (first, rest) = match bytes.split_first_chunk::<8>() {
        Some((first, rest)) => (u128::from(u64::from_le_bytes(*first)), rest),
        None => return bytes.iter().rev().fold(0, add),
    };
    (rest.iter().rev().fold(0, add) << 64) | first
}

impl Gate {
    fn of(prefix: &[u8]) -> Self {
        const ONES: [u8; 16] = [0xff; 16];
        let mask = word_of(ONES.get(..prefix.len()).unwrap_or(&ONES));
        Self {
            mask,
            word: word_of(prefix) & mask,
        }
    }

    fn lets_in(self, word: u128) -> bool {
        word & self.mask == self.word
    }
}

/// The layout of keys: every template, and what follows from them.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Templates of one family side by side, heartbeats first: a key that may be a heartbeat is one.
    templates: Vec<Template>,
    never: Vec<Never>,
    /// By template.
    gates: Vec<Gate>,
    /// By first byte of a name: whether a template begins so.
    first_bytes: [bool; 256],
}

impl Default for Layout {
    /// The built-in layout.
    fn default() -> Self {
        Self::parse(layout_syntax::DEFAULT.as_bytes())
            .unwrap_or_else(|_| Self::new(Vec::new(), Vec::new()))
    }
}

impl Layout {
    /// Reads the value of `blocking.families`.
    pub fn parse(text: &[u8]) -> Result<Self, BadSetting> {
        layout_syntax::parse(text).map(|(templates, never)| Self::new(templates, never))
    }

    fn new(mut templates: Vec<Template>, never: Vec<Never>) -> Self {
        templates.sort_by_key(|template| template.family);
        let gates = templates.iter().map(|t| Gate::of(&t.prefix)).collect();
        let mut first_bytes = [false; 256];
        for template in &templates {
            let first = template.prefix.first().copied().map(usize::from);
            if let Some(known) = first.and_then(|first| first_bytes.get_mut(first)) {
                *known = true;
            }
        }
        Self {
            templates,
            never,
            gates,
            first_bytes,
        }
    }

    /// The family of a key, or `None` for a foreign key. A key may fit several templates; its family is that of the
    /// first one, its possible owners are those of all of them.
    ///
    /// This runs for every key of the database, so it looks at as few bytes as it can.
    #[inline]
    pub fn family_of(&self, name: &[u8]) -> Option<Family> {
        let first = usize::from(*name.first()?);
        if self.first_bytes.get(first) != Some(&true) || name.len() > MAX_NAME_BYTES {
            return None;
        }
        let word = word_of(name);
        let lines = self.gates.iter().zip(&self.templates);
        let mut fitting = lines.filter(|(gate, line)| gate.lets_in(word) && line.fits(name));
        let family = fitting.next().map(|(_, line)| line.family)?;
        // A swarm's own state is never touched, even where its name could be read as a coordinator's. A heartbeat of
        // such a name still proves life, so it stays in the picture.
        (family == Family::Heartbeat || !self.is_never_touched(name)).then_some(family)
    }

    /// Whether a name is reserved for something that no cleanup may remove.
    pub fn is_never_touched(&self, name: &[u8]) -> bool {
        self.never.iter().any(|never| never.fits(name))
    }

    /// How the keys of each template begin.
    pub fn beginnings(&self) -> impl Iterator<Item = &[u8]> {
        self.templates.iter().map(|template| &*template.prefix)
    }

    /// Every coordinator that the heartbeat `name` could be the heartbeat of; none for other keys.
    pub fn beating(&self, name: &[u8], visit: &mut dyn FnMut(Reading)) {
        for template in self.heartbeats() {
            template.readings(name, None, &mut |reading| {
                visit(reading);
                true
            });
        }
    }

    /// Every template.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter()
    }

    /// What the end of a name over the bounds can spell: every coordinator with an id within the bounds that it could
    /// be the heartbeat of. Its swarm is not known.
    pub fn beating_at_end(&self, name: &[u8], visit: &mut dyn FnMut(Reading)) {
        let from = name_bounds::end_of(name);
        for template in self.heartbeats() {
            template.readings_at_end(name, from, visit);
        }
    }

    /// Whether a name that is too long to be looked at in full could be a heartbeat's.
    #[inline]
    pub fn is_long_heartbeat(&self, name: &[u8]) -> bool {
        name.len() > MAX_NAME_BYTES && self.begins_as_heartbeat(name)
    }

    /// Whether a name begins as those of heartbeats do, which costs the same for every name.
    fn begins_as_heartbeat(&self, name: &[u8]) -> bool {
        self.heartbeats().any(|line| line.rest(name).is_some())
    }

    /// The first family that keys belong to which begin as this name does, which costs the same for every name.
    pub fn begins_as(&self, name: &[u8]) -> Option<Family> {
        let mut lines = self.templates.iter();
        let line = lines.find(|line| line.rest(name).is_some())?;
        Some(line.family)
    }

    /// Templates of heartbeats.
    pub fn heartbeats(&self) -> impl Iterator<Item = &Template> {
        self.templates
            .iter()
            .take_while(|template| template.family == Family::Heartbeat)
    }

    /// Every way to read the key `name`, over all templates, limited to ids whose number of segments is in `known`
    /// where a template leaves the id's extent open. The same reading may come more than once. Until `visit` returns
    /// false.
    pub fn readings(
        &self,
        name: &[u8],
        known: &SegmentCounts,
        visit: &mut dyn FnMut(Reading) -> bool,
    ) {
        let word = word_of(name);
        let mut lines = self.gates.iter().zip(&self.templates);
        lines.all(|(gate, template)| {
            !gate.lets_in(word) || template.readings(name, Some(known), visit)
        });
    }

    /// The keys that a heartbeat of an id may have, in a swarm if there is one: one for each template of
    /// heartbeats of that kind.
    pub fn heartbeats_of(&self, swarm: Option<&[u8]>, id: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        self.heartbeats()
            .filter_map(move |template| template.key(swarm, id))
    }

    /// The last segment of an idempotency key whose template leaves open how it ends, which is where senders put the
    /// time; `None` for other keys.
    pub fn idempotency_tail<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let lines = self.templates.iter().filter(|template| {
            template.family == Family::Idempotency && matches!(template.tail, Tail::Open(_))
        });
        let rest = lines
            .filter(|line| line.fits(name))
            .find_map(|line| line.rest(name))?;
        rest.rsplit(|byte| *byte == b':').next()
    }
}

/// Every way to read a key, without knowing any id; buffers are reused from key to key.
#[derive(Clone, Debug)]
pub struct AllReadings {
    layout: Arc<Layout>,
    max: usize,
    segments_max: usize,
    lengths: SegmentCounts,
    found: Vec<Reading>,
}

/// Names with more segments are not read where the id may begin and end at many places.
const SEGMENTS_MAX: usize = 64;

impl AllReadings {
    /// A reader that gives up on keys with more than `max` readings: a name of 64 KiB full of colons has half a
    /// billion.
    pub fn up_to(max: usize, layout: &Arc<Layout>) -> Self {
        let segments_max = max.max(SEGMENTS_MAX);
        Self {
            layout: Arc::clone(layout),
            max,
            segments_max,
            lengths: SegmentCounts::up_to(segments_max.saturating_add(1)),
            found: Vec::new(),
        }
    }

    /// All readings of the key `name`, each once; `None` if there are too many.
    pub fn of(&mut self, name: &[u8]) -> Option<&[Reading]> {
        let Self {
            layout,
            max,
            segments_max,
            lengths,
            found,
        } = self;
        found.clear();
        if name_bounds::is_over(name) {
            return None;
        }
        for template in &layout.templates {
            // Each segment begins at least one reading where the id's extent is open.
            let most = if template.is_open() {
                *max
            } else {
                *segments_max
            };
            let rest = template.rest(name).filter(|_| template.needs_counts());
            if rest.is_some_and(|rest| memchr::memchr_iter(b':', rest).count() > most) {
                return None;
            }
            template.readings(name, Some(lengths), &mut |reading| {
                found.push(reading);
                true
            });
        }
        found.sort_unstable();
        found.dedup();
        (found.len() <= *max).then_some(found.as_slice())
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
