//! The module API as this crate uses it: pointers checked once, strings and replies freed by
//! their owners, panics kept on our side.

pub mod acl;
mod acl_rules;
pub mod cluster;
pub mod detached;
pub mod hash;
pub mod key_reader;
pub mod keyspace;
pub mod open_key;
pub mod replicas;
pub mod reply;
pub mod server_info;
pub mod system;

use std::ffi::CStr;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redis_module::raw;

pub use raw::{RedisModuleCtx, RedisModuleString};

/// Status codes of the C API.
pub const OK: i32 = 0;
pub const ERR: i32 = 1;

/// The pointer of an API function. Use inside `unsafe`; the function must be in [`REQUIRED`].
macro_rules! rm {
    ($name:ident) => {
        match redis_module::raw::$name {
            Some(function) => function,
            None => $crate::redis::api::missing(),
        }
    };
}
pub(super) use rm;

/// What `rm!` does with a pointer that the check at load did not cover: never reached, because
/// `tests/border/` holds the uses against the list.
pub fn missing() -> ! {
    std::process::abort()
}

macro_rules! required {
    ($($name:ident),* $(,)?) => {
        /// The API functions this module cannot do without, in the order of the first that is
        /// missing in older servers.
        pub const REQUIRED: &[&str] = &[$(stringify!($name)),*];

        /// The first required function that this server does not have.
        pub fn first_missing() -> Option<&'static str> {
            // SAFETY: the pointers are written by the server before OnLoad goes on, and only there.
            let found = unsafe { [$({ redis_module::raw::$name }.is_some()),*] };
            let mut pairs = REQUIRED.iter().zip(found);
            pairs.find(|(_, found)| !found).map(|(name, _)| *name)
        }
    };
}

required![
    RedisModule_ACLCheckKeyPermissions,
    RedisModule_AvoidReplicaTraffic,
    RedisModule_BlockClient,
    RedisModule_BlockedClientMeasureTimeEnd,
    RedisModule_BlockedClientMeasureTimeStart,
    RedisModule_Call,
    RedisModule_CallReplyArrayElement,
    RedisModule_CallReplyInteger,
    RedisModule_CallReplyLength,
    RedisModule_CallReplyStringPtr,
    RedisModule_CallReplyType,
    RedisModule_CloseKey,
    RedisModule_CreateCommand,
    RedisModule_CreateString,
    RedisModule_CreateTimer,
    RedisModule_DbSize,
    RedisModule_EventLoopAdd,
    RedisModule_EventLoopDel,
    RedisModule_FreeCallReply,
    RedisModule_FreeModuleUser,
    RedisModule_FreeServerInfo,
    RedisModule_FreeString,
    RedisModule_FreeThreadSafeContext,
    RedisModule_GetAbsExpire,
    RedisModule_GetBlockedClientHandle,
    RedisModule_GetBlockedClientPrivateData,
    RedisModule_GetCommand,
    RedisModule_GetClientId,
    RedisModule_GetClientUserNameById,
    RedisModule_GetContextFlags,
    RedisModule_GetDetachedThreadSafeContext,
    RedisModule_GetLRU,
    RedisModule_GetModuleUserFromUserName,
    RedisModule_GetSelectedDb,
    RedisModule_GetServerInfo,
    RedisModule_HashGet,
    RedisModule_InfoAddFieldULongLong,
    RedisModule_InfoAddSection,
    RedisModule_KeyType,
    RedisModule_LatencyAddSample,
    RedisModule_LoadConfigs,
    RedisModule_Log,
    RedisModule_Milliseconds,
    RedisModule_OpenKey,
    RedisModule_PublishMessage,
    RedisModule_RegisterCommandFilter,
    RedisModule_RegisterInfoFunc,
    RedisModule_RegisterBoolConfig,
    RedisModule_RegisterNumericConfig,
    RedisModule_RegisterStringConfig,
    RedisModule_ReplyWithArray,
    RedisModule_ReplyWithBool,
    RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong,
    RedisModule_ReplyWithMap,
    RedisModule_ReplyWithNull,
    RedisModule_ReplyWithSimpleString,
    RedisModule_ReplyWithStringBuffer,
    RedisModule_Scan,
    RedisModule_ScanCursorCreate,
    RedisModule_ScanCursorDestroy,
    RedisModule_SelectDb,
    RedisModule_ServerInfoGetFieldC,
    RedisModule_SetCommandInfo,
    RedisModule_SetDisconnectCallback,
    RedisModule_SetModuleOptions,
    RedisModule_StopTimer,
    RedisModule_StringDMA,
    RedisModule_StringPtrLen,
    RedisModule_SubscribeToKeyspaceEvents,
    RedisModule_SubscribeToServerEvent,
    RedisModule_UnblockClient,
    RedisModule_UnregisterCommandFilter,
    RedisModule_ValueLength,
];

/// Run the body of a callback; a panic ends here and gives `fallback`.
pub fn guard<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// The bytes of a string the server passed in.
///
/// # Safety
/// `string` must be valid (3, 4); the bytes must not be used after it is gone.
pub unsafe fn bytes_of<'a>(string: *const RedisModuleString) -> &'a [u8] {
    let mut length = 0usize;
    // SAFETY: 1, 2; the caller vouches for the string.
    let start = unsafe { rm!(RedisModule_StringPtrLen)(string, &mut length) };
    if start.is_null() {
        return &[];
    }
    // SAFETY: the server says that `length` bytes lie there.
    unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) }
}

/// A server string of our own.
#[derive(Debug)]
pub struct OwnString(*mut RedisModuleString);

impl OwnString {
    /// A copy of `bytes` as a server string.
    pub fn new(bytes: &[u8]) -> Self {
        // SAFETY: 1, 2; a null context means that we free the string (4).
        Self(unsafe {
            rm!(RedisModule_CreateString)(std::ptr::null_mut(), bytes.as_ptr().cast(), bytes.len())
        })
    }

    /// A string that the server made for us.
    ///
    /// # Safety
    /// It must be valid, and no other owner may free it (4).
    pub unsafe fn from_raw(string: *mut RedisModuleString) -> Self {
        Self(string)
    }

    /// The pointer, valid as long as this value lives.
    pub fn as_ptr(&self) -> *mut RedisModuleString {
        self.0
    }
}

impl Drop for OwnString {
    fn drop(&mut self) {
        // SAFETY: 1, 2, 4.
        unsafe { rm!(RedisModule_FreeString)(std::ptr::null_mut(), self.0) }
    }
}

/// The answer to a command this module called.
#[derive(Debug)]
pub struct Answer(*mut raw::RedisModuleCallReply);

impl Answer {
    /// Take over a reply; `None` if the server gave none.
    pub fn new(reply: *mut raw::RedisModuleCallReply) -> Option<Self> {
        // Lazily: a value made of null would be dropped, and freed, all the same.
        (!reply.is_null()).then(|| Self(reply))
    }

    fn kind(&self) -> isize {
        // SAFETY: 1, 2, 4.
        unsafe { rm!(RedisModule_CallReplyType)(self.0) as isize }
    }

    fn text(&self) -> &[u8] {
        let mut length = 0usize;
        // SAFETY: 1, 2, 4.
        let start = unsafe { rm!(RedisModule_CallReplyStringPtr)(self.0, &mut length) };
        if start.is_null() {
            return &[];
        }
        // SAFETY: the bytes belong to the reply, which outlives the borrow.
        unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) }
    }

    /// The bytes of a string reply.
    pub fn string(&self) -> Option<&[u8]> {
        (self.kind() == raw::REDISMODULE_REPLY_STRING).then(|| self.text())
    }

    /// The text of an error reply.
    pub fn error(&self) -> Option<&[u8]> {
        (self.kind() == raw::REDISMODULE_REPLY_ERROR).then(|| self.text())
    }

    /// The number of an integer reply.
    pub fn integer(&self) -> Option<i64> {
        // SAFETY: 1, 2, 4.
        (self.kind() == raw::REDISMODULE_REPLY_INTEGER)
            .then(|| unsafe { rm!(RedisModule_CallReplyInteger)(self.0) })
    }

    /// The bytes of an element of an array reply, if it is a string.
    pub fn element(&self, index: usize) -> Option<Vec<u8>> {
        self.child(index)?.string().map(<[u8]>::to_vec)
    }

    /// An element of an array reply.
    pub fn child(&self, index: usize) -> Option<Child<'_>> {
        // SAFETY: 1, 2, 4; an index out of range gives null.
        let element = unsafe { rm!(RedisModule_CallReplyArrayElement)(self.0, index) };
        // The element belongs to this reply, so it must not be freed on its own.
        let element = std::mem::ManuallyDrop::new(Self::new(element)?);
        Some(Child(element, PhantomData))
    }

    /// Visit the strings of an array reply.
    pub fn each_string(&self, visit: &mut dyn FnMut(&[u8])) {
        // SAFETY: 1, 2, 4; 0 for anything but an array.
        let length = unsafe { rm!(RedisModule_CallReplyLength)(self.0) };
        for index in 0..length {
            if let Some(text) = self.child(index).as_ref().and_then(|child| child.string()) {
                visit(text);
            }
        }
    }
}

/// A part of an [`Answer`], which owns it.
#[derive(Debug)]
pub struct Child<'a>(std::mem::ManuallyDrop<Answer>, PhantomData<&'a Answer>);

impl std::ops::Deref for Child<'_> {
    type Target = Answer;

    fn deref(&self) -> &Answer {
        &self.0
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: 1, 2, 4.
        unsafe { rm!(RedisModule_FreeCallReply)(self.0) }
    }
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    Verbose,
    Notice,
    Warning,
}

/// Write one line to the server's log; bytes that are not printable ASCII are left out.
pub fn log(ctx: *mut RedisModuleCtx, level: Level, line: &str) {
    let level = match level {
        Level::Verbose => c"verbose",
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    let mut text: Vec<u8> = line.bytes().filter(|b| (b' '..=b'~').contains(b)).collect();
    text.push(0);
    if let Ok(text) = CStr::from_bytes_with_nul(&text) {
        // SAFETY: 1, 2; the format takes one C string, which outlives the call.
        unsafe {
            rm!(RedisModule_Log)(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr());
        }
    }
}

/// The server loads a data set.
pub const LOADING: u32 =
    raw::REDISMODULE_CTX_FLAGS_LOADING | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;

/// Flags of the context and of the server.
pub fn context_flags(ctx: *mut RedisModuleCtx) -> u32 {
    // SAFETY: 1, 2, 3.
    unsafe { rm!(RedisModule_GetContextFlags)(ctx) as u32 }
}

/// The server's wall clock, milliseconds since 1970.
pub fn wall_ms() -> i64 {
    // SAFETY: 1.
    unsafe { rm!(RedisModule_Milliseconds)() }
}

/// Whether the server must not replicate anything now: writes are paused for a failover, a
/// shutdown or an operator, and a replicated write would end it by assertion.
pub fn writes_are_paused() -> bool {
    // SAFETY: 1, 2.
    unsafe { rm!(RedisModule_AvoidReplicaTraffic)() != 0 }
}

/// The value of one of the server's own settings, as CONFIG GET shows it.
pub fn server_setting(ctx: *mut RedisModuleCtx, name: &CStr) -> Option<Vec<u8>> {
    // SAFETY: 1, 2, 3; the format takes two C strings, which outlive the call.
    let reply = unsafe {
        rm!(RedisModule_Call)(
            ctx,
            c"CONFIG".as_ptr(),
            c"Ecc".as_ptr(),
            c"GET".as_ptr(),
            name.as_ptr(),
        )
    };
    Answer::new(reply)?.element(1)
}
