//! Injected faults: a store that loses power, a connection that is cut at the same instant, a store that fails for a
//! while.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::io;
use lightning::util::persist::KVStoreSync;
use lsps_node::store::Store;
use lsps_transport_ldk::ports::{Clock, SystemClock};
use lsps_types::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::Script;

/// Power of one machine: once it is gone, nothing is written and nothing is sent.
#[derive(Clone, Default)]
pub struct Power {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    is_off: AtomicBool,
    writes: AtomicUsize,
    /// Number of writes that still succeed, once armed.
    left: AtomicUsize,
    is_armed: AtomicBool,
    /// Callback for another part of the machine, at the instant of the cut.
    on_cut: std::sync::OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Power {
    /// Cuts the power after `writes` more writes, and calls `on_cut` before the write after them returns.
    pub fn fail_after(&self, writes: usize, on_cut: impl Fn() + Send + Sync + 'static) {
        let _ = self.inner.on_cut.set(Box::new(on_cut));
        self.inner.writes.store(0, Ordering::SeqCst);
        self.inner.left.store(writes, Ordering::SeqCst);
        self.inner.is_armed.store(true, Ordering::SeqCst);
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.inner.is_off.store(true, Ordering::SeqCst);
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.inner.is_off.load(Ordering::SeqCst)
    }

    /// Number of writes since it was armed.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.inner.writes.load(Ordering::SeqCst)
    }

    /// Whether one more write reaches the disk.
    fn draw(&self) -> bool {
        let inner = &self.inner;
        if self.is_off() {
            return false;
        }
        if !inner.is_armed.load(Ordering::SeqCst) {
            return true;
        }
        inner.writes.fetch_add(1, Ordering::SeqCst);
        let had_one = inner.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if !had_one
            && !inner.is_off.swap(true, Ordering::SeqCst)
            && let Some(on_cut) = inner.on_cut.get()
        {
            on_cut();
        }
        had_one
    }
}

/// A store on that machine: once the power is gone, writes seem to succeed and have no effect.
pub struct PowerCutStore {
    /// Content of the disk.
    pub disk: Store,
    /// Power that a write needs.
    pub power: Power,
}

impl KVStoreSync for PowerCutStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        self.disk.read(primary, secondary, key)
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Result<(), io::Error> {
        if self.power.draw() { self.disk.write(primary, secondary, key, value) } else { Ok(()) }
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, lazy: bool) -> Result<(), io::Error> {
        if self.power.draw() { self.disk.remove(primary, secondary, key, lazy) } else { Ok(()) }
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        self.disk.list(primary, secondary)
    }
}

/// A store that fails to write below one namespace for a while.
pub struct SickStore {
    /// Content of the disk.
    pub inner: Store,
    /// Namespace whose writes fail, and number of writes before that.
    ill_at: Mutex<Option<(&'static str, usize)>>,
    refused: AtomicUsize,
}

impl SickStore {
    /// Creates a store that works.
    #[must_use]
    pub fn new(inner: Store) -> Self {
        Self { inner, ill_at: Mutex::new(None), refused: AtomicUsize::new(0) }
    }

    /// From now on writes and removals below this primary namespace fail.
    pub fn falls_ill(&self, primary: &'static str) {
        self.falls_ill_after(primary, 0);
    }

    /// After this number of writes, writes and removals below this primary namespace fail.
    pub fn falls_ill_after(&self, primary: &'static str, writes: usize) {
        *self.ill_at() = Some((primary, writes));
    }

    /// From now on all writes succeed.
    pub fn recovers(&self) {
        *self.ill_at() = None;
    }

    /// Number of calls that failed.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    fn examine(&self, primary: &str) -> Result<(), io::Error> {
        match &mut *self.ill_at() {
            Some((ill, 0)) if *ill == primary => {}
            Some((ill, left)) if *ill == primary => {
                *left -= 1;
                return Ok(());
            }
            Some(_) | None => return Ok(()),
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::new(io::ErrorKind::Other, "the store is ill"))
    }

    fn ill_at(&self) -> MutexGuard<'_, Option<(&'static str, usize)>> {
        // Both values are set at once.
        self.ill_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KVStoreSync for SickStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        self.inner.read(primary, secondary, key)
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Result<(), io::Error> {
        self.examine(primary)?;
        self.inner.write(primary, secondary, key, value)
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, lazy: bool) -> Result<(), io::Error> {
        self.examine(primary)?;
        self.inner.remove(primary, secondary, key, lazy)
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        self.inner.list(primary, secondary)
    }
}

/// A connection to a node on that machine: no byte passes after the power is gone.
pub struct Wire {
    address: SocketAddr,
    clogged: Arc<AtomicBool>,
}

impl Wire {
    /// Listens, and forwards to `to`.
    ///
    /// # Errors
    ///
    /// The port cannot be opened.
    pub async fn to(to: SocketAddr, power: Power) -> Result<Self, std::io::Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, clogged) = (listener.local_addr()?, Arc::<AtomicBool>::default());
        let is_clogged = Arc::clone(&clogged);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (power, clogged) = (power.clone(), Arc::clone(&is_clogged));
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(to).await {
                        carry(near, far, &power, &clogged).await;
                    }
                });
            }
        });
        Ok(Self { address, clogged })
    }

    /// From now on nothing reads what the node sends: the node has to queue it, or stop.
    pub fn clogs(&self) {
        self.clogged.store(true, Ordering::SeqCst);
    }

    /// Address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn carry(near: TcpStream, far: TcpStream, power: &Power, clogged: &AtomicBool) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    let pass = async |from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, may_clog: bool| {
        let mut buffer = vec![0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if may_clog && clogged.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if power.is_off() || to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pass(&mut from_near, &mut to_far, false) => {}
        () = pass(&mut from_far, &mut to_near, true) => {}
    }
}

/// The system's clock with two offsets: time that passes, and an amount by which somebody sets the clock.
#[derive(Default)]
pub struct Shifted {
    passed: AtomicU64,
    set_ahead: AtomicU64,
}

impl Shifted {
    /// Creates a clock, and a script of an LSP that uses it.
    #[must_use]
    pub fn script() -> (Arc<Self>, Script) {
        let clock = Arc::new(Self::default());
        (clock.clone(), Script { clock, ..Script::default() })
    }

    /// Lets this time pass at once.
    pub fn jump(&self, seconds: u64) {
        self.passed.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Sets the clock ahead by this amount; 0 sets it right.
    pub fn is_set_ahead(&self, seconds: u64) {
        self.set_ahead.store(seconds, Ordering::SeqCst);
    }

    fn passed(&self) -> Duration {
        Duration::from_secs(self.passed.load(Ordering::SeqCst))
    }
}

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.passed() + Duration::from_secs(self.set_ahead.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        SystemClock.steady() + self.passed()
    }
}
