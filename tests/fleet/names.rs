//! The names of a fleet: ids that contain, begin and end one another, and the keys that coordinators write under them.
//! Must not know which coordinator a key belongs to: that is decided elsewhere, from the names alone.

use fastrand::Rng;

/// As many shapes of ids are built around each number.
const SHAPES: u32 = 8;
/// Numbers of ids there are; the same ones come back again and again.
pub const IDS: u32 = 4_000;
const STEP: u32 = 25;
pub const SWARMS: [&str; 2] = ["s1", "s1:x"];

/// Keys that look like a coordinator's and must stay whatever happens.
pub const FOREIGN: [&str; 6] = [
    "coordinator:work:c-1",
    "coordinator:spawn:c-1",
    "blocking:retry:c-1",
    "blocking:heartbeats:c-1",
    "swarm:s1:state",
    "swarm:s1:blocking:c-1:state",
];

/// The id with this number. Neighbours collide: `c-1`, `c-10`, `c-1:x`, `x:c-1`, `c-1:c-2` and what looks like a
/// pattern for all of them.
pub fn id(number: u32) -> Vec<u8> {
    let n = number / SHAPES;
    match number % SHAPES {
        0 => format!("c-{n}").into_bytes(),
        1 => format!("c-{n}:x").into_bytes(),
        2 => format!("x:c-{n}").into_bytes(),
        3 => format!("c-{n}:c-{}", n + 1).into_bytes(),
        4 => format!("heartbeat:c-{n}").into_bytes(),
        5 => format!("c-[{n}]*:?").into_bytes(),
        6 => [format!("c-{n}:").as_bytes(), b"\xff\0\r\n"].concat(),
        _ => format!("c-{n}::c-{n}").into_bytes(),
    }
}

/// Numbers of those that beat without a break. The step has no divisor in common with the number of shapes, so there
/// are some of every shape.
pub fn steady() -> Vec<u32> {
    (0..IDS).step_by(STEP as usize).collect()
}

/// Numbers of those that die again and again.
pub fn mortal() -> Vec<u32> {
    (1..IDS).step_by(STEP as usize).collect()
}

/// Whether a coordinator of either kind beats under this number.
pub fn is_taken(number: u32) -> bool {
    number % STEP < 2
}

/// An id that is never among those of `id`, made from one that is, so that it shares keys with it.
pub fn partner(id: &[u8]) -> Vec<u8> {
    [id, b":y"].concat()
}

/// Another one that shares only what names them both.
pub fn peer(id: &[u8]) -> Vec<u8> {
    [b"q-".as_slice(), id].concat()
}

/// The heartbeat of an id, in a swarm or outside of all.
pub fn heartbeat(swarm: Option<&str>, id: &[u8]) -> Vec<u8> {
    let scope = swarm.map_or(String::new(), |swarm| format!("swarm:{swarm}:"));
    [scope.as_bytes(), b"blocking:heartbeat:", id].concat()
}

/// Keys other than heartbeats that a coordinator leaves behind: of every family, and many that others could own too.
/// They are the same ones every time, so a keyspace does not grow without end.
pub fn family(id: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = vec![
        [b"blocking:signal:", id].concat(),
        [b"blocking:ack:", id].concat(),
        [b"blocking:ack:", id, b":sig-1"].concat(),
        [b"blocking:ack:", &*partner(id), b":sig-1"].concat(),
        [b"blocking:idempotency:", id, b":init"].concat(),
        between(id, &peer(id)),
        between(&partner(id), id),
        [b"coordinator:activity:", id].concat(),
        [b"swarm:s1:agent:", id, b":activity"].concat(),
    ];
    // This one would be the heartbeat of another coordinator.
    if !id.starts_with(b"heartbeat:") {
        keys.extend(SWARMS.map(|swarm| format!("swarm:{swarm}:blocking:").into_bytes()));
        keys.iter_mut()
            .rev()
            .take(SWARMS.len())
            .for_each(|key| key.extend(id));
    }
    keys
}

/// The mark that a signal was sent from one to another.
pub fn between(sender: &[u8], receiver: &[u8]) -> Vec<u8> {
    let end = b":completion:1:1700000000000";
    [b"blocking:idempotency:", sender, b":", receiver, end].concat()
}

/// Some of `keys`, in their order.
pub fn some_of(keys: Vec<Vec<u8>>, rng: &mut Rng) -> Vec<Vec<u8>> {
    keys.into_iter().filter(|_| rng.u8(..4) > 0).collect()
}
