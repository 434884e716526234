//! A section of INFO, read without a client.

use std::ffi::CStr;

use redis_module::raw;

use crate::redis::api::rm;

/// A section of INFO as it is now.
pub struct Info(*mut raw::RedisModuleServerInfoData);

impl Info {
    /// Read it; `None` if the server gives none.
    pub fn new(section: &CStr) -> Option<Self> {
        // SAFETY: 1, 2; without a context it is ours to free (4).
        let data =
            unsafe { rm!(RedisModule_GetServerInfo)(std::ptr::null_mut(), section.as_ptr()) };
        (!data.is_null()).then(|| Self(data))
    }

    /// The text of a field, if it is there.
    pub fn field(&self, name: &CStr) -> Option<&[u8]> {
        // SAFETY: 1, 2, 4; the text belongs to the section, which outlives the borrow.
        let text = unsafe { rm!(RedisModule_ServerInfoGetFieldC)(self.0, name.as_ptr()) };
        // SAFETY: as above, and it ends with a zero.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
    }
}

impl Drop for Info {
    fn drop(&mut self) {
        // SAFETY: 1, 2, 4.
        unsafe { rm!(RedisModule_FreeServerInfo)(std::ptr::null_mut(), self.0) };
    }
}
