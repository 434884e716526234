//! The kinds of keys that a coordinator owns.

use crate::util::named_enum::named_enum;

named_enum! {
    /// The kinds of keys a coordinator owns, in the order every listing uses.
    ///
    /// One more needs no more than a line here and a template in [`crate::keys::layout_syntax::DEFAULT`].
    #[repr(u8)]
    pub enum Family {
        Heartbeat = heartbeat,
        Signal = signal,
        Ack = ack,
        Idempotency = idempotency,
        Activity = activity,
        State = state,
    }

    /// Something of each family.
    pub struct FamilyMap;
}
