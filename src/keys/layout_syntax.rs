//! The value of `blocking.families`: the key layout as templates in one text.
//!
//! Words separated by spaces, each a family's name, `=` and a template, in which a literal brace is doubled. The
//! syntax needs neither quotes nor backslashes and refuses them: Valkey 8.1.1 writes both into its configuration as
//! they are, which then means something else or keeps it from starting.

use crate::keys::bad_template::BadTemplate;
use crate::keys::family::Family;
use crate::keys::template::{Lead, Never, Tail, Template};
use crate::reply::error::BadSetting;

/// The built-in layout.
pub const DEFAULT: &str = "heartbeat=blocking:heartbeat:{id} \
    heartbeat=swarm:{swarm}:blocking:heartbeat:{id} \
    signal=blocking:signal:{id} \
    ack=blocking:ack:{id}* \
    idempotency=blocking:idempotency:*{id}* \
    activity=coordinator:activity:{id} \
    activity=swarm:{swarm}:agent:{id}:activity \
    state=swarm:{swarm}:blocking:{id} \
    never=swarm:{swarm}:state";

/// How names begin that look like the built-in layout's and are left alone on purpose: unfinished work, escalations,
/// spawns, retries.
pub const LEFT_ALONE: [&str; 4] = [
    "coordinator:work:",
    "coordinator:escalation:",
    "coordinator:spawn:",
    "blocking:retry:",
];

/// More templates are refused: a key that might be one of a family is held against all of them.
const MAX_TEMPLATES: usize = 64;

/// The longest template, with its family's name.
const MAX_TEMPLATE_BYTES: usize = 512;

const NEVER: &[u8] = b"never";

/// A part of a template, and where in the value it begins and ends.
#[derive(Clone, Debug)]
struct Piece {
    at: usize,
    end: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Without the second of doubled braces.
    Text(Vec<u8>),
    Id,
    Swarm,
    Star,
}

/// What is wrong, and where; places count from 0 in here.
type Fault = (usize, BadTemplate);

/// Reads a value: the templates in the order they come, and the names that are never touched.
pub fn parse(text: &[u8]) -> Result<(Vec<Template>, Vec<Never>), BadSetting> {
    read(text).map_err(|(at, what)| BadSetting::Families {
        at: at.saturating_add(1),
        accepted: what.accepted(),
    })
}

fn read(text: &[u8]) -> Result<(Vec<Template>, Vec<Never>), Fault> {
    let is_refused = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\\' | 0..=31 | 127);
    if let Some(at) = text.iter().position(is_refused) {
        return Err((at, BadTemplate::Byte));
    }
    let (mut templates, mut never) = (Vec::new(), Vec::new());
    let mut at = 0usize;
    for word in text.split(|byte| *byte == b' ') {
        let here = at;
        at = at.saturating_add(word.len()).saturating_add(1);
        if word.is_empty() {
            continue;
        }
        if word.len() > MAX_TEMPLATE_BYTES {
            return Err((here, BadTemplate::TooLong));
        }
        if templates.len().saturating_add(never.len()) >= MAX_TEMPLATES {
            return Err((here, BadTemplate::TooMany));
        }
        let equals = memchr::memchr(b'=', word).ok_or((here, BadTemplate::Family))?;
        let (name, template) = (word.get(..equals), word.get(equals.saturating_add(1)..));
        let (name, template) = (name.unwrap_or_default(), template.unwrap_or_default());
        let begin = here.saturating_add(equals).saturating_add(1);
        let pieces = pieces(template, begin)?;
        if name == NEVER {
            never.push(never_of(&pieces, begin)?);
            continue;
        }
        let family = Family::ALL
            .into_iter()
            .find(|f| f.name().as_bytes() == name);
        let family = family.ok_or((here, BadTemplate::Family))?;
        let template = template_of(family, &pieces, begin.saturating_add(template.len()))?;
        if family == Family::Heartbeat {
            check_heartbeat(&pieces)?;
        }
        templates.push(template);
    }
    if !templates.iter().any(|t| t.family == Family::Heartbeat) {
        return Err((text.len(), BadTemplate::NoHeartbeat));
    }
    Ok((templates, never))
}

/// Cut a template, which begins at `begin`, into its parts.
fn pieces(template: &[u8], begin: usize) -> Result<Vec<Piece>, Fault> {
    let mut found: Vec<Piece> = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let at = begin.saturating_add(template.len().saturating_sub(rest.len()));
        let special = |byte: &u8| matches!(byte, b'{' | b'}' | b'*');
        let text = |length: usize| Kind::Text(rest.get(..length).unwrap_or_default().to_vec());
        let (kind, length) = match rest.iter().position(special) {
            Some(0) if rest.starts_with(b"*") => (Kind::Star, 1),
            Some(0) if rest.starts_with(b"{{") || rest.starts_with(b"}}") => (text(1), 2),
            Some(0) if rest.starts_with(b"{id}") => (Kind::Id, 4),
            Some(0) if rest.starts_with(b"{swarm}") => (Kind::Swarm, 7),
            Some(0) => return Err((at, BadTemplate::Placeholder)),
            Some(length) => (text(length), length),
            None => (text(rest.len()), rest.len()),
        };
        rest = rest.get(length..).unwrap_or_default();
        let end = at.saturating_add(length);
        match (found.last_mut(), kind) {
            (
                Some(Piece {
                    end: before,
                    kind: Kind::Text(text),
                    ..
                }),
                Kind::Text(more),
            ) => {
                text.extend(more);
                *before = end;
            }
            (_, kind) => found.push(Piece { at, end, kind }),
        }
    }
    Ok(found)
}

/// The template that these pieces make; `end` is where it ends.
fn template_of(family: Family, pieces: &[Piece], end: usize) -> Result<Template, Fault> {
    if !pieces.iter().any(|piece| piece.kind == Kind::Id) {
        return Err((end, BadTemplate::NoId));
    }
    let mut pieces = pieces.iter().peekable();
    let prefix = match pieces.next() {
        Some(Piece {
            kind: Kind::Text(text),
            ..
        }) if text.ends_with(b":") => text,
        // With text that lacks its colon the mistake is where the colon should stand.
        Some(Piece {
            end,
            kind: Kind::Text(_),
            ..
        }) => return Err((*end, BadTemplate::Beginning)),
        other => return Err((other.map_or(end, |piece| piece.at), BadTemplate::Beginning)),
    };
    let lead = match pieces.peek().map(|piece| &piece.kind) {
        Some(Kind::Swarm) => {
            let after = pieces.next().map_or(end, |piece| piece.end);
            let (_, text_end, text) = text_here(&mut pieces, end);
            if !text.starts_with(b":") {
                return Err((after, BadTemplate::Border));
            }
            if !text.ends_with(b":") {
                return Err((text_end, BadTemplate::Border));
            }
            Lead::Swarm(text.into())
        }
        Some(Kind::Star) => {
            pieces.next();
            let (_, text_end, text) = text_here(&mut pieces, end);
            if !text.is_empty() && !text.ends_with(b":") {
                return Err((text_end, BadTemplate::Border));
            }
            Lead::Star(text.into())
        }
        _ => Lead::Nothing,
    };
    match pieces.next() {
        Some(Piece { kind: Kind::Id, .. }) => {}
        other => return Err((other.map_or(end, |piece| piece.at), BadTemplate::Form)),
    }
    let (at, _, text) = text_here(&mut pieces, end);
    if !text.is_empty() && !text.starts_with(b":") {
        return Err((at, BadTemplate::Border));
    }
    let is_star = pieces.next_if(|piece| piece.kind == Kind::Star).is_some();
    if let Some(piece) = pieces.next() {
        return Err((piece.at, BadTemplate::Form));
    }
    Ok(Template {
        family,
        prefix: prefix.as_slice().into(),
        lead,
        tail: if is_star {
            Tail::Open(text.into())
        } else {
            Tail::Closed(text.into())
        },
    })
}

/// The text that comes next, where it begins and ends; empty, and at `end`, if there is none.
fn text_here<'p>(
    pieces: &mut std::iter::Peekable<std::slice::Iter<'p, Piece>>,
    end: usize,
) -> (usize, usize, &'p [u8]) {
    match pieces.next_if(|piece| matches!(piece.kind, Kind::Text(_))) {
        Some(Piece {
            at,
            end,
            kind: Kind::Text(text),
        }) => (*at, *end, text),
        _ => (end, end, &[]),
    }
}

/// A heartbeat's key follows from its id.
fn check_heartbeat(pieces: &[Piece]) -> Result<(), Fault> {
    let star = pieces.iter().find(|piece| piece.kind == Kind::Star);
    star.map_or(Ok(()), |star| Err((star.at, BadTemplate::HeartbeatStar)))
}

fn never_of(pieces: &[Piece], begin: usize) -> Result<Never, Fault> {
    if pieces.is_empty() {
        return Err((begin, BadTemplate::Never));
    }
    let mut prefix = Box::default();
    let mut gaps: Vec<(usize, Box<[u8]>)> = Vec::new();
    for piece in pieces {
        match (&piece.kind, gaps.last_mut()) {
            (Kind::Text(text), None) => prefix = text.as_slice().into(),
            (Kind::Text(text), Some((_, behind))) => *behind = text.as_slice().into(),
            (Kind::Star, _) => gaps.push((0, Box::default())),
            (Kind::Id | Kind::Swarm, _) => gaps.push((1, Box::default())),
        }
    }
    Ok(Never { prefix, gaps })
}

#[cfg(test)]
#[path = "layout_syntax_tests.rs"]
mod tests;
