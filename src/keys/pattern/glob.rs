//! A glob as it is matched: runs of single bytes between stars, each found once, from left to right.
//!
//! Every run has a fixed length, so the first place where it fits is as good as any later one, and no byte of the id
//! is looked at twice by two runs. Within a run as well a byte is looked at once: all places where the run may have
//! begun are kept as bits, 64 of them to a step. So a match takes at most one step for each byte of the id and each
//! 64 bytes of the pattern, whatever the two look like.

use std::ops::Range;

use memchr::memmem::Finder;

/// The bits of a step.
const WORD_BITS: usize = u64::BITS as usize;

/// What fits one byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    Byte(u8),
    Any,
    /// By byte.
    Class(Box<[bool; 256]>),
}

impl Unit {
    fn fits(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::Any => true,
            Self::Class(members) => members.get(usize::from(byte)) == Some(&true),
        }
    }
}

/// How often a match may look at something: each step is a comparison of a few bytes or of 64 bits.
#[derive(Debug)]
pub struct Steps(usize);

impl Steps {
    pub fn up_to(most: usize) -> Self {
        Self(most)
    }

    /// Take so many; `None` if there are not as many left.
    fn take(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.checked_sub(count)?;
        Some(())
    }
}

/// A run that may begin anywhere.
#[derive(Debug)]
enum Run {
    /// Bytes that stand for themselves.
    Literal(Box<Finder<'static>>),
    Bits(Bits),
}

/// A run in which one bit stands for one unit.
#[derive(Debug)]
struct Bits {
    length: usize,
    /// How many words a row has.
    words: usize,
    /// A row for each byte: which units it fits, those that fit any byte left out.
    rows: Vec<u64>,
    /// The units that fit any byte.
    any: Vec<u64>,
}

impl Bits {
    fn new(units: &[Unit]) -> Self {
        let words = units.len().div_ceil(WORD_BITS);
        let mut rows = vec![0u64; words.saturating_mul(256)];
        let mut any = vec![0u64; words];
        for (place, unit) in units.iter().enumerate() {
            let (word, bit) = (place / WORD_BITS, 1u64 << (place % WORD_BITS));
            let mut set = |byte: usize| {
                if let Some(row) = rows.get_mut(byte.saturating_mul(words).saturating_add(word)) {
                    *row |= bit;
                }
            };
            match unit {
                Unit::Byte(byte) => set(usize::from(*byte)),
                Unit::Class(members) => {
                    let members = members.iter().enumerate().filter(|(_, is_one)| **is_one);
                    members.for_each(|(byte, _)| set(byte));
                }
                Unit::Any => {
                    if let Some(any) = any.get_mut(word) {
                        *any |= bit;
                    }
                }
            }
        }
        Self {
            length: units.len(),
            words,
            rows,
            any,
        }
    }

    /// Where the first fit ends.
    fn find(&self, text: &[u8]) -> Option<usize> {
        let last = self.length.checked_sub(1)?;
        let last = (last / WORD_BITS, 1u64 << (last % WORD_BITS));
        // One bit for each unit that has just fitted, together with those before it.
        let mut fitted = vec![0u64; self.words];
        for (at, byte) in text.iter().enumerate() {
            let row = usize::from(*byte).saturating_mul(self.words);
            let row = self.rows.get(row..).unwrap_or_default();
            // The run may begin at every byte.
            let mut carry = 1;
            for ((fitted, row), any) in fitted.iter_mut().zip(row).zip(&self.any) {
                let next = *fitted >> (WORD_BITS - 1);
                *fitted = ((*fitted << 1) | carry) & (row | any);
                carry = next;
            }
            if fitted.get(last.0).is_some_and(|word| word & last.1 != 0) {
                return Some(at.saturating_add(1));
            }
        }
        None
    }
}

impl Run {
    fn new(units: &[Unit]) -> Self {
        let bytes = units.iter().map(|unit| match unit {
            Unit::Byte(byte) => Some(*byte),
            _ => None,
        });
        match bytes.collect::<Option<Vec<u8>>>() {
            Some(bytes) => Self::Literal(Box::new(Finder::new(&bytes).into_owned())),
            None => Self::Bits(Bits::new(units)),
        }
    }

    /// Where the first fit ends, if there is one; `None` if that takes too many steps.
    fn find(&self, text: &[u8], steps: &mut Steps) -> Option<Option<usize>> {
        match self {
            Self::Literal(finder) => {
                let found = finder.find(text);
                let end = found.map(|at| at.saturating_add(finder.needle().len()));
                // Bytes that stand for themselves are looked for many at a time.
                steps.take((end.unwrap_or(text.len()) / 16).saturating_add(1))?;
                Some(end)
            }
            Self::Bits(bits) => {
                let most = steps.0.checked_div(bits.words).unwrap_or_default();
                let end = bits.find(text.get(..most).unwrap_or(text));
                steps.take(end.unwrap_or(text.len()).saturating_mul(bits.words))?;
                Some(end)
            }
        }
    }
}

/// A glob, ready to match.
#[derive(Debug)]
pub struct Glob {
    /// Before the first star.
    head: Vec<Unit>,
    /// Between the stars.
    runs: Vec<Run>,
    /// Behind the last star; `None` if there is no star, and the head is all.
    tail: Option<Vec<Unit>>,
    /// No shorter id fits.
    least_bytes: usize,
}

impl Glob {
    /// The glob of these runs, between each two of which there is a star.
    pub fn new(between_stars: Vec<Vec<Unit>>) -> Self {
        let least_bytes = between_stars.iter().map(Vec::len).sum();
        let mut parts = between_stars.into_iter();
        let head = parts.next().unwrap_or_default();
        let tail = parts.next_back();
        let inner = parts.filter(|units| !units.is_empty());
        Self {
            head,
            runs: inner.map(|units| Run::new(&units)).collect(),
            tail,
            least_bytes,
        }
    }

    /// Whether the whole id fits; `None` if that takes too many steps.
    pub fn fits(&self, id: &[u8], steps: &mut Steps) -> Option<bool> {
        steps.take(1)?;
        let Some(tail) = &self.tail else {
            return Some(id.len() == self.head.len() && fit(&self.head, id, steps)?);
        };
        if id.len() < self.least_bytes {
            return Some(false);
        }
        let tail_at = id.len().saturating_sub(tail.len());
        let part = |range: Range<usize>| id.get(range).unwrap_or_default();
        if !fit(&self.head, part(0..self.head.len()), steps)?
            || !fit(tail, part(tail_at..id.len()), steps)?
        {
            return Some(false);
        }
        let mut from = self.head.len();
        for run in &self.runs {
            match run.find(part(from..tail_at), steps)? {
                Some(end) => from = from.saturating_add(end),
                None => return Some(false),
            }
        }
        Some(true)
    }
}

/// Whether the units fit the bytes, of which there are as many; `None` if that takes too many steps.
fn fit(units: &[Unit], bytes: &[u8], steps: &mut Steps) -> Option<bool> {
    for (unit, byte) in units.iter().zip(bytes) {
        steps.take(1)?;
        if !unit.fits(*byte) {
            return Some(false);
        }
    }
    Some(true)
}
