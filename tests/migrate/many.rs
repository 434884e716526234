//! More dead coordinators than the Lua script can name in one call.

use anyhow::{Context, Result};
use blocking_harness::server_now_ms;

use crate::case::{Contender, End, Now, Outcome, Pair, RIGHT, Row, family, gone, left, write};

/// Five keys each; unpack takes fewer than 8,000.
const DEAD: usize = 1_700;
const KEYS: usize = DEAD * 5;

pub const ROW: Row = Row {
    title: "1,700 dead ones at once",
    shell: RIGHT.ending(End::NotRun("not run: takes minutes")),
    lua: left(KEYS).ending(End::Fails("too many results to unpack")),
    module: RIGHT,
};

#[test]
fn lua_removes_none_of_many_and_the_module_all() -> Result<()> {
    let server = crate::server()?;
    let mut conn = server.client()?;
    let now = Now {
        ms: server_now_ms(&mut conn)?,
    };
    let dead: Vec<Pair> = (0..DEAD)
        .flat_map(|n| family(&format!("build-{n:04}"), now.old()))
        .collect();
    write(&mut conn, &dead)?;
    // The script leaves them all, so that the module has them all.
    for contender in [Contender::Lua, Contender::Module] {
        let expected = contender.expected(&ROW);
        let said = contender.run(&server, &[])?;
        let end = contender.end(&said, expected.end);
        let seen = Outcome {
            end: end.context(said.text)?,
            left: KEYS - gone(&mut conn, &dead)?.len(),
            lost: 0,
        };
        assert_eq!(seen, expected, "{contender:?}");
    }
    Ok(())
}
