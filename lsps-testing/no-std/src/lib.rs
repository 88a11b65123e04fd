//! Proof that the cores need no std: this library has an allocator and a panic handler of its own, which would clash
//! with those of std.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};

use lsps_service::{Config, Service, StandardPolicy};
use lsps_types::{Scid, lsps2::PromiseKey};

/// Allocator without memory: the library is linked and never run.
struct NoMemory;

// SAFETY: it never hands out memory, which an allocator may do.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static NO_MEMORY: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Uses both cores, and with them the kernel, so that all are linked.
#[unsafe(no_mangle)]
pub extern "C" fn lsps_no_std() -> usize {
    let client = lsps_client::Client::new(lsps_client::Config::default(), [0; 32]);
    let key = PromiseKey::new([0; 32]);
    let service = Service::new(Config::default(), StandardPolicy::default(), || Scid(1), key);
    client.pending_calls() + service.map_or(0, |service| service.protocols().len())
}
