//! Keys that begin like family keys and are none: how many, under which names.
//!
//! A key is one of these if it begins like a template up to the first colon. They are told apart by what comes next,
//! in a table of bounded size.

use std::collections::BTreeMap;

use super::examples::Examples;
use crate::keys::layout::Layout;
use crate::keys::layout_syntax::LEFT_ALONE;

/// More different names count together.
const MAX_GROUPS: usize = 64;

/// A longer part of a name is taken for no name of a kind of keys.
const MAX_PART_BYTES: usize = 64;

/// Keys of one kind of name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub keys: u64,
    /// One of them.
    pub example: Option<Vec<u8>>,
}

/// How some templates begin: up to their first colon.
#[derive(Debug)]
struct Head {
    text: Box<[u8]>,
    /// A template goes on with an id, a swarm or anything, so that the next part names no kind.
    is_open: bool,
}

/// Such keys.
#[derive(Debug)]
pub struct UnknownKeys {
    heads: Vec<Head>,
    /// A key of the module itself.
    own: Vec<u8>,
    /// By the glob that fits them: names that no template has.
    pub unknown: BTreeMap<Vec<u8>, Group>,
    /// The same for names that are left alone on purpose.
    pub left_alone: BTreeMap<Vec<u8>, Group>,
    /// Of the unknown, those beyond the table.
    pub others: u64,
}

impl UnknownKeys {
    /// None met yet.
    pub fn new(layout: &Layout, own: Vec<u8>) -> Self {
        let mut heads: Vec<Head> = Vec::new();
        for beginning in layout.beginnings() {
            let Some(end) = memchr::memchr(b':', beginning).map(|at| at.saturating_add(1)) else {
                continue;
            };
            let text = beginning.get(..end).unwrap_or_default();
            let is_open = text.len() == beginning.len();
            match heads.iter_mut().find(|head| *head.text == *text) {
                Some(head) => head.is_open = head.is_open || is_open,
                None => heads.push(Head {
                    text: text.into(),
                    is_open,
                }),
            }
        }
        Self {
            heads,
            own,
            unknown: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            others: 0,
        }
    }

    /// Whether a key that is no family key is one of these. Asked of every foreign key.
    pub fn concern(&self, name: &[u8]) -> bool {
        self.head_of(name).is_some() && (self.own.is_empty() || name != self.own)
    }

    fn head_of(&self, name: &[u8]) -> Option<&Head> {
        let mut heads = self.heads.iter();
        heads.find(|head| name.starts_with(&head.text))
    }

    /// Count one of these.
    pub fn add(&mut self, name: &[u8], is_never_touched: bool, examples: &mut Examples) {
        let Some(head) = self.head_of(name) else {
            return;
        };
        let mut listed = LEFT_ALONE.iter().map(|begin| begin.as_bytes());
        let listed = listed.find(|begin| name.starts_with(begin));
        let glob = listed.map_or_else(|| glob_of(name, head), |begin| [begin, b"*"].concat());
        let is_left_alone = is_never_touched || listed.is_some();
        let groups = if is_left_alone {
            &mut self.left_alone
        } else {
            &mut self.unknown
        };
        if groups.len() >= MAX_GROUPS && !groups.contains_key(&glob) {
            self.others = self.others.saturating_add(u64::from(!is_left_alone));
            return;
        }
        let group = groups.entry(glob).or_default();
        group.keys = group.keys.saturating_add(1);
        if group.example.is_none() {
            group.example = examples.keep(name);
        }
    }
}

/// The glob for names of this kind: `blocking:retry:*`, and `swarm:*:lock` where an id or a swarm stands behind the
/// first colon.
fn glob_of(name: &[u8], head: &Head) -> Vec<u8> {
    let rest = name.get(head.text.len()..).unwrap_or_default();
    let mut parts = rest.split(|byte| *byte == b':');
    let mut glob = head.text.to_vec();
    if head.is_open {
        parts.next();
        glob.extend_from_slice(b"*:");
    }
    let part = parts.next().filter(|part| part.len() <= MAX_PART_BYTES);
    match (part, parts.next().is_some()) {
        (Some(part), true) => [glob.as_slice(), part, b":*"].concat(),
        // The last part is a kind of its own behind a name that is not.
        (Some(part), false) if head.is_open => [glob.as_slice(), part].concat(),
        _ => [&*head.text, b"*"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown_keys(families: &str) -> UnknownKeys {
        let layout = Layout::parse(families.as_bytes()).unwrap();
        UnknownKeys::new(&layout, b"blocking:own".to_vec())
    }

    fn told(groups: &BTreeMap<Vec<u8>, Group>) -> Vec<(String, u64)> {
        let text = |glob: &Vec<u8>| String::from_utf8_lossy(glob).into_owned();
        groups
            .iter()
            .map(|(g, group)| (text(g), group.keys))
            .collect()
    }

    #[test]
    fn keys_that_begin_like_a_template_are_grouped() {
        let mut all = unknown_keys(crate::keys::layout_syntax::DEFAULT);
        let mut examples = Examples::default();
        for name in [
            "blocking:beat:a",
            "blocking:beat:b",
            "blocking:lonely",
            "swarm:s1:lock",
            "swarm:s2:lock",
            "swarm:s1:agent:a:mood",
            "swarm:s1",
            "coordinator:work:1",
            "blocking:retry:a:b",
        ] {
            assert!(all.concern(name.as_bytes()), "{name}");
            all.add(name.as_bytes(), false, &mut examples);
        }
        all.add(b"swarm:s1:state", true, &mut examples);
        for name in ["blocking", "session:1", "blocking:own", "", "swarms:a"] {
            assert!(!all.concern(name.as_bytes()), "{name}");
        }
        let unknown = [
            ("blocking:*".to_owned(), 1),
            ("blocking:beat:*".to_owned(), 2),
            ("swarm:*".to_owned(), 1),
            ("swarm:*:agent:*".to_owned(), 1),
            ("swarm:*:lock".to_owned(), 2),
        ];
        assert_eq!(told(&all.unknown), unknown);
        let left_alone = [
            ("blocking:retry:*".to_owned(), 1),
            ("coordinator:work:*".to_owned(), 1),
            ("swarm:*:state".to_owned(), 1),
        ];
        assert_eq!(told(&all.left_alone), left_alone);
        let example = all.unknown[&b"blocking:beat:*"[..]].example.as_deref();
        assert_eq!(example, Some(&b"blocking:beat:a"[..]));
    }

    #[test]
    fn heads_follow_the_layout() {
        let mut all = unknown_keys("heartbeat=coord:{id}:beat signal=coord:x:signal:{id}");
        assert!(!all.concern(b"blocking:beat:a"));
        assert!(all.concern(b"coord:a:mood"));
        all.add(b"coord:a:mood", false, &mut Examples::default());
        assert_eq!(told(&all.unknown), [("coord:*:mood".to_owned(), 1)]);
    }

    #[test]
    fn the_table_and_the_examples_are_bounded() {
        let mut all = unknown_keys(crate::keys::layout_syntax::DEFAULT);
        let mut examples = Examples::default();
        for n in 0..1000 {
            let name = format!("blocking:kind-{n:04}:{}", "x".repeat(60 << 10));
            all.add(name.as_bytes(), false, &mut examples);
        }
        assert_eq!((all.unknown.len(), all.others), (MAX_GROUPS, 1000 - 64));
        let kept = all.unknown.values().filter(|group| group.example.is_some());
        assert_eq!(kept.count(), 17);
        // A part that is too long names no kind.
        let name = format!("blocking:{}:a", "y".repeat(65));
        all.add(name.as_bytes(), false, &mut examples);
        assert_eq!(all.others, 1000 - 63);
    }
}
