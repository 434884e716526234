//! What the caller of a run may delete, and what it may read, by the server's ACL.
//!
//! The name is taken in the command, where there is a client; the user behind it is looked up at
//! the head of every slice, for an administrator may change or delete it between two of them.

use redis_module::raw;

use crate::redis::api::acl_rules;
use crate::redis::api::{self, Answer, OwnString, RedisModuleCtx, RedisModuleString, rm};

/// The name of the user that sent the command at hand; `None` for a call without one, such as
/// another module's, which the server treats as unrestricted.
pub fn caller_name(ctx: *mut RedisModuleCtx) -> Option<Vec<u8>> {
    // SAFETY: 1, 2, 3. Asking by client id is safe where there is no user; asking for the current
    // user is not.
    let name = unsafe {
        let id = rm!(RedisModule_GetClientId)(ctx);
        rm!(RedisModule_GetClientUserNameById)(ctx, id)
    };
    if name.is_null() {
        return None;
    }
    // SAFETY: 3; freed right after its bytes were copied.
    unsafe {
        let bytes = api::bytes_of(name).to_vec();
        rm!(RedisModule_FreeString)(ctx, name);
        Some(bytes)
    }
}

/// What keeps the module from being unloaded: a user with a rule that names one of our commands.
/// `Err` if the server does not list its users.
pub fn user_with_our_command(ctx: *mut RedisModuleCtx) -> Result<Option<String>, ()> {
    // SAFETY: 1, 2, 3; the format takes one C string, which outlives the call.
    let reply =
        unsafe { rm!(RedisModule_Call)(ctx, c"ACL".as_ptr(), c"Ec".as_ptr(), c"LIST".as_ptr()) };
    let users = Answer::new(reply).ok_or(())?;
    if users.error().is_some() {
        return Err(());
    }
    let mut found = None;
    users.each_string(&mut |line| {
        if found.is_none() {
            found = acl_rules::user_with_our_command(line);
        }
    });
    Ok(found)
}

/// A user looked up for one slice.
#[derive(Debug)]
pub enum User {
    Unrestricted,
    Named(*mut raw::RedisModuleUser),
}

impl User {
    /// Look a user up by name; `None` if it does not exist any more.
    pub fn resolve(name: Option<&[u8]>) -> Option<Self> {
        let Some(name) = name else {
            return Some(Self::Unrestricted);
        };
        let name = OwnString::new(name);
        // SAFETY: 1, 2, 4.
        let user = unsafe { rm!(RedisModule_GetModuleUserFromUserName)(name.as_ptr()) };
        // Lazily: a value made of null would be dropped, and freed, all the same.
        (!user.is_null()).then(|| Self::Named(user))
    }

    /// Whether the user may delete this key.
    pub fn may_delete(&self, key: *mut RedisModuleString) -> bool {
        self.may(raw::REDISMODULE_CMD_KEY_DELETE as i32, key)
    }

    /// Whether the user may read this key.
    pub fn may_read(&self, key: *mut RedisModuleString) -> bool {
        self.may(raw::REDISMODULE_CMD_KEY_ACCESS as i32, key)
    }

    fn may(&self, flags: i32, key: *mut RedisModuleString) -> bool {
        match self {
            Self::Unrestricted => true,
            Self::Named(user) => {
                // SAFETY: 1, 2, 3, 4.
                unsafe { rm!(RedisModule_ACLCheckKeyPermissions)(*user, key, flags) == api::OK }
            }
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Self::Named(user) = self {
            // SAFETY: 1, 2, 4.
            unsafe { rm!(RedisModule_FreeModuleUser)(*user) };
        }
    }
}
