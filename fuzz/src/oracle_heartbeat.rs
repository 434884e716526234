//! The oracle for heartbeats: JSON read by hand into a tree, then the rules of the layout applied one by one.
//! Must not use the libraries that the module reads heartbeats with.

use crate::oracle_moment::{Moment, of_number, of_text};

/// The deepest nesting that is still read.
const DEEPEST: usize = 127;
const NAMES: [&str; 3] = ["timestamp", "lastHeartbeat", "last_heartbeat"];

/// JSON as far as a heartbeat needs it.
enum Json<'j> {
    Number(&'j str),
    Text(String),
    Object(Vec<(String, Json<'j>)>),
    Null,
    Other,
}

/// What the rules say a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The newest beat lies between these, milliseconds; `None` if there is none.
    pub newest_ms: Option<(i64, i64)>,
    pub doubtful: bool,
    /// A number so large or so close to a border that the value may as well be unreadable, or a field doubtful.
    pub open: bool,
}

const UNREADABLE: Expected = Expected {
    newest_ms: None,
    doubtful: true,
    open: false,
};

/// Reads a heartbeat's value.
pub fn read(value: &[u8]) -> Expected {
    // Everything must be text, also what is ignored.
    let Ok(text) = std::str::from_utf8(value) else {
        return UNREADABLE;
    };
    let parse = |is_python| {
        let mut reader = Reader {
            text,
            at: 0,
            huge: false,
            is_python,
        };
        (reader.whole(), reader.huge)
    };
    // A number beyond all floats ends the reading wherever it stands; so does bad JSON after it. Python's words for
    // numbers that are none are let through in objects.
    let is_object = text.trim_ascii_start().starts_with('{');
    let (json, huge) = match parse(false) {
        (None, _) if is_object => parse(true),
        parsed => parsed,
    };
    let json = match json {
        Some(json) => json,
        None if is_object => return UNREADABLE,
        None => Json::Text(text.trim_ascii().to_owned()),
    };
    let is_u64 = |text: &str| text.parse::<u64>().is_ok();
    let moments: Vec<Moment> = match &json {
        Json::Number(number) => vec![of_number(number, is_u64)],
        Json::Text(text) => vec![of_text(text)],
        Json::Object(fields) => {
            let known = fields
                .iter()
                .filter(|(name, _)| NAMES.contains(&name.as_str()));
            known
                .map(|(_, value)| match value {
                    Json::Number(number) => of_number(number, is_u64),
                    Json::Text(text) => of_text(text),
                    Json::Null => Moment::Absent,
                    Json::Object(_) | Json::Other => Moment::None,
                })
                .collect()
        }
        Json::Null | Json::Other => Vec::new(),
    };
    let ranges: Vec<(i64, i64)> = moments
        .iter()
        .filter_map(|moment| match moment {
            Moment::Between(from, to) => Some((*from, *to)),
            Moment::None | Moment::Absent | Moment::Either => None,
        })
        .collect();
    let newest = ranges
        .iter()
        .copied()
        .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)));
    Expected {
        newest_ms: newest,
        doubtful: newest.is_none() || moments.contains(&Moment::None),
        open: huge || moments.contains(&Moment::Either),
    }
}

struct Reader<'j> {
    text: &'j str,
    at: usize,
    /// A number was met that may be beyond all floats.
    huge: bool,
    /// NaN, Infinity and -Infinity are values, which are no times.
    is_python: bool,
}

impl<'j> Reader<'j> {
    fn whole(&mut self) -> Option<Json<'j>> {
        let json = self.value(0)?;
        self.space();
        (self.at == self.text.len()).then_some(json)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: &str) -> Option<()> {
        self.text[self.at..]
            .starts_with(wanted)
            .then(|| self.at += wanted.len())
    }

    fn value(&mut self, depth: usize) -> Option<Json<'j>> {
        self.space();
        match self.peek()? {
            b'{' if depth < DEEPEST => self.object(depth + 1).map(Json::Object),
            b'[' if depth < DEEPEST => self.list(depth + 1).map(|()| Json::Other),
            b'"' => self.string().map(Json::Text),
            b't' => self.take("true").map(|()| Json::Other),
            b'f' => self.take("false").map(|()| Json::Other),
            b'n' => self.take("null").map(|()| Json::Null),
            b'N' | b'I' | b'-' if self.is_python && self.word().is_some() => Some(Json::Other),
            b'-' | b'0'..=b'9' => self.number().map(Json::Number),
            _ => None,
        }
    }

    fn word(&mut self) -> Option<()> {
        let found = self
            .take("NaN")
            .or_else(|| self.take("Infinity"))
            .or_else(|| self.take("-Infinity"));
        found
    }

    fn object(&mut self, depth: usize) -> Option<Vec<(String, Json<'j>)>> {
        let mut fields = Vec::new();
        self.take("{")?;
        self.space();
        if self.take("}").is_some() {
            return Some(fields);
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.take(":")?;
            fields.push((name, self.value(depth)?));
            self.space();
            if self.take("}").is_some() {
                return Some(fields);
            }
            self.take(",")?;
        }
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        self.take("[")?;
        self.space();
        if self.take("]").is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.take("]").is_some() {
                return Some(());
            }
            self.take(",")?;
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let letter = rest.chars().next()?;
            self.at += letter.len_utf8();
            match letter {
                '"' => return Some(text),
                '\\' => {
                    let escape = self.peek()?;
                    self.at += 1;
                    text.push(match escape {
                        b'"' | b'\\' | b'/' => char::from(escape),
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => self.unicode()?,
                        _ => return None,
                    });
                }
                letter if letter < ' ' => return None,
                letter => text.push(letter),
            }
        }
    }

    /// What follows `\u`, the second half of a pair included.
    fn unicode(&mut self) -> Option<char> {
        let first = self.four()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.take("\\u")?;
        let second = self.four()?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)
    }

    fn four(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        self.at += 4;
        Some(number)
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Option<&'j str> {
        let from = self.at;
        let _ = self.take("-");
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return None;
        }
        if self.take(".").is_some() && self.digits() == 0 {
            return None;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _ = self.take("+").or_else(|| self.take("-"));
            if self.digits() == 0 {
                return None;
            }
        }
        let text = &self.text[from..self.at];
        // The one use of a float: whether the number is anywhere near the end of the range of floats, where readers
        // may differ on whether it is a number at all.
        self.huge |= text.parse::<f64>().is_ok_and(|number| number.abs() > 1e300);
        Some(text)
    }
}
