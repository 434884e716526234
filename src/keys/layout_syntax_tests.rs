//! What is accepted as a layout, and what is said of the rest.

use super::*;
use crate::keys::layout::Layout;
use proptest::prelude::*;

fn refusal(text: &str) -> Option<(usize, BadTemplate)> {
    let (at, what) = read(text.as_bytes()).err()?;
    Some((at + 1, what))
}

#[test]
fn every_family_has_a_template_and_is_named_wherever_families_are() {
    let (templates, _) = parse(DEFAULT.as_bytes()).unwrap();
    let refusal = parse(b"x").unwrap_err().to_string();
    let example = include_str!("../../redis.conf.example");
    let example = example
        .lines()
        .find(|line| line.contains("of the families"));
    let counts = |line: &&str| line.starts_with("| `keys_by_family` ");
    let counts = crate::pages::COMMANDS.lines().find(counts).unwrap();
    for family in Family::ALL {
        let name = family.name();
        assert!(templates.iter().any(|t| t.family == family), "{name}");
        assert!(refusal.contains(&format!(" {name}=")), "{name}: {refusal}");
        assert!(example.unwrap().contains(name), "{name}: {example:?}");
        assert!(counts.contains(&format!("`{name}`")), "{name}: {counts}");
    }
}

#[test]
fn the_built_in_layout_is_the_table_of_the_documentation() {
    let (templates, never) = parse(DEFAULT.as_bytes()).unwrap();
    let shown: Vec<String> = templates
        .iter()
        .map(|t| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let lead = match &t.lead {
                Lead::Nothing => String::new(),
                Lead::Swarm(marker) => format!("<swarm>{}", text(marker)),
                Lead::Star(marker) => format!("<any>{}", text(marker)),
            };
            let tail = match &t.tail {
                Tail::Closed(end) => text(end),
                Tail::Open(end) => format!("{}<any>", text(end)),
            };
            format!("{} {}{lead}<id>{tail}", t.family.name(), text(&t.prefix))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "heartbeat blocking:heartbeat:<id>",
            "heartbeat swarm:<swarm>:blocking:heartbeat:<id>",
            "signal blocking:signal:<id>",
            "ack blocking:ack:<id><any>",
            "idempotency blocking:idempotency:<any><id><any>",
            "activity coordinator:activity:<id>",
            "activity swarm:<swarm>:agent:<id>:activity",
            "state swarm:<swarm>:blocking:<id>",
        ]
    );
    assert_eq!(never.len(), 1);
    assert!(never[0].fits(b"swarm:s:state") && !never[0].fits(b"swarm::state"));
}

#[test]
fn a_mistake_is_named_with_its_place() {
    use BadTemplate::*;
    let many = "signal=a:{id} ".repeat(64);
    let long = format!("heartbeat={}:{{id}}", "a".repeat(600));
    let table: &[(&str, usize, BadTemplate)] = &[
        ("", 1, NoHeartbeat),
        ("   ", 4, NoHeartbeat),
        ("signal=a:{id}", 14, NoHeartbeat),
        ("heartbeat=\"a:{id}\"", 11, Byte),
        ("heartbeat=a:'{id}", 13, Byte),
        ("heartbeat=a:\\{id}", 13, Byte),
        ("heartbeat=a:{id}\theartbeat=b:{id}", 17, Byte),
        ("heartbeat=a:{id}\n", 17, Byte),
        ("heartbeat=a:\0{id}", 13, Byte),
        ("a:{id}", 1, Family),
        ("heartbeat=a:{id} b:{id}", 18, Family),
        ("heartbeat=a:{id} heartbeats=b:{id}", 18, Family),
        ("heartbeat=a:{id} Signal=b:{id}", 18, Family),
        ("heartbeat=a:{id} =b:{id}", 18, Family),
        ("heartbeat=a:{ID}", 13, Placeholder),
        ("heartbeat=a:{id", 13, Placeholder),
        ("heartbeat=a:id}", 15, Placeholder),
        ("heartbeat=a:{}", 13, Placeholder),
        ("heartbeat=a:{{id}}", 19, NoId),
        ("heartbeat=a:{{{id}}}", 15, Beginning),
        ("heartbeat={{a}}{id}", 16, Beginning),
        ("heartbeat=a:{{b}:{id}", 16, Placeholder),
        ("heartbeat=a:", 13, NoId),
        ("heartbeat=", 11, NoId),
        ("heartbeat=a:{swarm}", 20, NoId),
        ("heartbeat={id}", 11, Beginning),
        ("heartbeat={id}:a", 11, Beginning),
        ("heartbeat=*{id}", 11, Beginning),
        ("heartbeat={swarm}:{id}", 11, Beginning),
        ("heartbeat=a{id}", 12, Beginning),
        ("heartbeat=a-{swarm}:{id}", 13, Beginning),
        ("heartbeat=a:{swarm}{id}", 20, Border),
        ("heartbeat=a:{swarm}-{id}", 20, Border),
        ("heartbeat=a:{swarm}:b{id}", 22, Border),
        ("heartbeat=a:{id}b", 17, Border),
        ("heartbeat=a:{id} ack=b:*c{id}", 26, Border),
        ("heartbeat=a:{id}:{id}", 18, Form),
        ("heartbeat=a:{id}:{swarm}", 18, Form),
        ("heartbeat=a:{swarm}:{swarm}:{id}", 21, Form),
        ("heartbeat=a:{id} ack=b:**{id}", 25, Form),
        ("heartbeat=a:{id} ack=b:{id}**", 29, Form),
        ("heartbeat=a:{id} ack=b:{id}*:c", 29, Form),
        ("heartbeat=a:{id} ack=b:{id}*{id}", 29, Form),
        ("heartbeat=a:{id}*", 17, HeartbeatStar),
        ("heartbeat=a:*{id}", 13, HeartbeatStar),
        ("heartbeat=a:{id} never=", 24, Never),
        ("heartbeat=a:{id} never=a:{x}", 26, Placeholder),
        (&long, 1, TooLong),
        (&many, 64 * 14 + 1, NoHeartbeat),
    ];
    for (text, at, what) in table {
        assert_eq!(refusal(text), Some((*at, *what)), "{text:?}");
    }
    let one_more = format!("{many}heartbeat=a:{{id}}");
    assert_eq!(refusal(&one_more), Some((64 * 14 + 1, TooMany)));
    let most = format!("heartbeat=a:{{id}} {}", "signal=a:{id} ".repeat(63));
    assert_eq!(refusal(&most), None);
}

#[test]
fn doubled_braces_are_braces() {
    let (templates, never) =
        parse(b"heartbeat={{app}}:hb:{id}:{{x}} signal={{{{:{swarm}:}}:{id} never={{{id}}}")
            .unwrap();
    assert_eq!(&*templates[0].prefix, b"{app}:hb:");
    assert_eq!(templates[0].tail, Tail::Closed(b":{x}"[..].into()));
    assert_eq!(&*templates[1].prefix, b"{{:");
    assert_eq!(templates[1].lead, Lead::Swarm(b":}:"[..].into()));
    assert!(never[0].fits(b"{a}") && !never[0].fits(b"a"));
}

#[test]
fn spaces_do_not_matter_and_any_text_may_be_fixed() {
    for text in [
        "heartbeat=a:{id}",
        "  heartbeat=a:{id}   signal=b:{id} ",
        "heartbeat=a:{swarm}:{id}:",
        "heartbeat=a=b:{id}",
        "heartbeat=\u{e9}?[x]:{id}",
        "heartbeat=:{id}",
        "heartbeat=a:{id} heartbeat=b:{id} heartbeat=c:{swarm}:{id} heartbeat=d:{swarm}:{id}",
        "heartbeat={{a}}:{id} never={{{id}}}",
        "heartbeat=a:{id} never=b",
        "heartbeat=a:{id} never=*",
        "heartbeat=a:{id} ack=a:*:b:{id}:c:*",
    ] {
        assert_eq!(refusal(text), None, "{text:?}");
    }
}

proptest! {
    /// Whatever comes, it is taken or refused with a place in it, and what is taken can be used.
    #[test]
    fn no_text_is_too_strange(
        text in "(heartbeat=|signal=|ack=|never=|a|:|\\*|\\{id\\}|\\{swarm\\}|\\{|\\}|\\{\\{| |\"|\u{0}){0,12}",
        name in "[a:]{0,8}",
    ) {
        match Layout::parse(text.as_bytes()) {
            Err(BadSetting::Families { at, .. }) => prop_assert!((1..=text.len() + 1).contains(&at)),
            Err(other) => panic!("{other}"),
            Ok(layout) => {
                layout.family_of(name.as_bytes());
            }
        }
    }
}

#[test]
fn the_limits_are_named() {
    for (what, limit) in [
        (BadTemplate::TooMany, MAX_TEMPLATES),
        (BadTemplate::TooLong, MAX_TEMPLATE_BYTES),
    ] {
        let text = what.accepted();
        assert!(text.contains(&format!("at most {limit} ")), "{text}");
    }
}
