//! Names and texts of the server, made fit for a terminal: whatever a name holds, the terminal must obey nothing in it.

use std::fmt::Write;

/// Characters that move the cursor, change colours or turn text around are written as `\x1b` or `\u{202e}`; all else
/// stays as it is. A backslash stays, too: in JSON of the module names have theirs doubled already.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Writing to a string does not fail.
        let _ = match c {
            '\0'..='\x1f' | '\x7f' => write!(shown, "\\x{:02x}", u32::from(c)),
            _ if is_hidden(c) => write!(shown, "\\u{{{:x}}}", u32::from(c)),
            _ => shown.write_char(c),
        };
    }
    shown
}

/// Control characters beyond ASCII, and those that are not seen but change what is: direction, joins, line ends, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_in_a_name() {
        for (name, shown) in [
            ("build-7", "build-7"),
            ("caf\u{e9} \u{4e16}", "caf\u{e9} \u{4e16}"),
            (r"back\\slash \xe9", r"back\\slash \xe9"),
            ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
            ("a\r\nb\tc\0\x7f", r"a\x0d\x0ab\x09c\x00\x7f"),
            ("\u{9b}31m", r"\u{9b}31m"),
            (
                "\u{202e}txt.\u{2066}\u{200b}",
                r"\u{202e}txt.\u{2066}\u{200b}",
            ),
            ("\u{2028}\u{feff}\u{e0041}", r"\u{2028}\u{feff}\u{e0041}"),
        ] {
            assert_eq!(escaped(name), shown);
        }
        for c in (0..=0x1f_u8).chain(0x7f..=0x9f) {
            assert!(!escaped(&char::from(c).to_string()).contains(char::is_control));
        }
    }
}
