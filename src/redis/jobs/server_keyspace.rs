//! The server as a removal sees it.

use std::hash::RandomState;
use std::sync::Arc;

use crate::cluster::locality::{ClusterTags, Locality};
use crate::heartbeat::reader::{Beat, Reader};
use crate::keys::layout::Layout;
use crate::orphans::OrphanValue;
use crate::redis::api::acl::User;
use crate::redis::api::cluster::{self, Ground};
use crate::redis::api::replicas::Replicas;
use crate::redis::api::{self, OwnString, RedisModuleCtx, key_reader, keyspace, system};
use crate::redis::events::new_keys;
use crate::redis::obituaries;
use crate::redis::runner::job::RunContext;
use crate::redis::runner::stop::{self, StopReason};
use crate::removal::keyspace::{Keyspace, Refusal};
use crate::report::obituary::Obituaries;
use crate::report::progress::Waiting;

/// The selected database, for one slice.
#[derive(Debug)]
pub struct ServerKeyspace<'s> {
    ctx: *mut RedisModuleCtx,
    user: &'s User,
    replicas: &'s mut Replicas,
    ground: &'s mut Ground,
}

impl<'s> ServerKeyspace<'s> {
    /// As the user sees it.
    pub fn new(ctx: *mut RedisModuleCtx, user: &'s User, run: &'s mut RunContext) -> Self {
        Self {
            ctx,
            user,
            replicas: &mut run.replicas,
            ground: &mut run.ground,
        }
    }
}

impl Keyspace for ServerKeyspace<'_> {
    type Name = OwnString;

    fn name(&self, bytes: &[u8]) -> OwnString {
        OwnString::new(bytes)
    }

    fn heartbeat(&mut self, name: &OwnString, reader: &Reader) -> Option<Beat> {
        keyspace::read_heartbeat(self.ctx, name, reader)
    }

    fn bytes_read(&self) -> usize {
        keyspace::bytes_read()
    }

    fn beginning(&mut self, name: &OwnString, reader: &Reader, max_bytes: usize) -> Vec<u8> {
        key_reader::beginning(self.ctx, name, reader, max_bytes)
    }

    fn exists(&mut self, name: &OwnString) -> bool {
        key_reader::exists(self.ctx, name)
    }

    fn may_exist(&mut self, name: &OwnString) -> bool {
        cluster::may_exist(self.ctx, name)
    }

    fn orphan_value(
        &mut self,
        bytes: &[u8],
        name: &OwnString,
        reader: &Reader,
        key: &RandomState,
    ) -> Option<OrphanValue> {
        key_reader::orphan_value(self.ctx, bytes, name, reader, key)
    }

    fn may_delete(&mut self, name: &OwnString) -> bool {
        self.user.may_delete(name.as_ptr())
    }

    fn unlink<'k>(&mut self, names: impl Iterator<Item = &'k OwnString>) -> Result<u64, Refusal> {
        keyspace::unlink(self.ctx, names)
    }

    fn must_wait(&mut self, written_bytes: u64) -> Option<Waiting> {
        if api::writes_are_paused() {
            return Some(Waiting::Writes);
        }
        let is_far = self.replicas.are_too_far_behind(self.ctx, written_bytes);
        is_far.then_some(Waiting::Replicas)
    }

    fn moved_slots(&mut self, layout: &Arc<Layout>) -> Option<Locality> {
        let has_moved = self.ground.look_if_due(self.ctx);
        has_moved.then(|| self.ground.locality(layout)).flatten()
    }

    fn tags(&self) -> ClusterTags {
        self.ground.tags
    }

    fn new_heartbeats(&mut self) -> Option<Vec<Vec<u8>>> {
        new_keys::take_heartbeats()
    }

    fn too_many_new_heartbeats(&mut self) {
        stop::wish(StopReason::TooManyBorn);
    }

    fn new_keys(&mut self) -> Option<Vec<Vec<u8>>> {
        new_keys::take_keys()
    }

    fn note_key(&mut self, name: &[u8]) {
        new_keys::note_key(name);
    }

    fn write_obituaries(&mut self, obituaries: &mut Obituaries) -> u64 {
        obituaries::write(self.ctx, obituaries)
    }

    fn now_us(&self) -> u64 {
        system::monotonic_us()
    }
}
