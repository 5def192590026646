//! Names of the store's hosts to addresses, on a thread of its own: the system's resolver blocks.
//! One look-up of a name is under way at a time; who waits for it longer than a host may take goes
//! on without.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use crate::limits;
use crate::store::STORE_HOST_TIMEOUT;

/// A look-up on its way.
#[derive(Debug, Default)]
struct Slot {
    found: Option<Result<Vec<SocketAddr>, String>>,
    /// Of all who wait: each writer of a core connects by itself.
    wakers: Vec<Waker>,
}

type Shared = Arc<Mutex<Slot>>;

/// See the header of this file.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    under_way: Mutex<Vec<((String, u16), Shared)>>,
}

impl Lookup {
    /// The addresses of `host`.
    pub(super) async fn of(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let key = (host.to_owned(), port);
        let slot = self.begin(&key)?;
        let mut timer = pin!(monoio::time::sleep(STORE_HOST_TIMEOUT));
        let found = std::future::poll_fn(|context| {
            let mut slot = lock(&slot);
            if let Some(found) = &slot.found {
                return Poll::Ready(found.clone());
            }
            slot.wakers.push(context.waker().clone());
            drop(slot);
            let late = timer.as_mut().poll(context);
            late.map(|()| Err("its name is not resolved in time".to_owned()))
        })
        .await;
        if lock(&slot).found.is_some() {
            lock(&self.under_way).retain(|(_, other)| !Arc::ptr_eq(other, &slot));
        }
        found
    }

    fn begin(&self, key: &(String, u16)) -> Result<Shared, String> {
        let mut under_way = lock(&self.under_way);
        if let Some((_, slot)) = under_way.iter().find(|(other, _)| other == key) {
            return Ok(Arc::clone(slot));
        }
        let slot = Shared::default();
        let (told, (host, port)) = (Arc::clone(&slot), key.clone());
        let begun = thread::Builder::new()
            .name("p99-store-name".to_owned())
            .spawn(move || {
                let found = (&*host, port).to_socket_addrs();
                let found = found.map(|all| all.take(limits::ADDRESSES_MAX).collect());
                let mut slot = lock(&told);
                slot.found = Some(found.map_err(|fault| fault.to_string()));
                slot.wakers.drain(..).for_each(Waker::wake);
            });
        begun.map_err(|fault| format!("no thread for its name: {fault}"))?;
        under_way.push((key.clone(), Arc::clone(&slot)));
        Ok(slot)
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::reactor::Reactor;

    /// Each writer of a core connects by itself, and after a restart of the database all at once.
    #[test]
    fn all_who_wait_for_one_name_hear_of_it() {
        let lookup = Rc::new(Lookup::default());
        let all = (0..8).map(|_| Rc::clone(&lookup));
        let found = Reactor::best().unwrap().run(async {
            let ask = |lookup: Rc<Lookup>| async move { lookup.of("localhost", 5_432).await };
            let asking: Vec<_> = all.map(|one| monoio::spawn(ask(one))).collect();
            let mut found = Vec::new();
            for one in asking {
                found.push(one.await);
            }
            found
        });
        assert!(found.iter().all(Result::is_ok), "{found:?}");
        assert!(lock(&lookup.under_way).is_empty());
    }
}
