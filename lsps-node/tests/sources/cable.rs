//! A connection to a server that can be cut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Cable {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    pub fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, is_cut, streams) =
            (listener.local_addr()?, Arc::<AtomicBool>::default(), Arc::<Mutex<_>>::default());
        let cable = Self { address, is_cut: Arc::clone(&is_cut), streams: Arc::clone(&streams) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_cut.load(Ordering::SeqCst) {
                    continue; // the stream is closed
                }
                let Ok(onward) = TcpStream::connect(server) else { continue };
                for stream in [&stream, &onward] {
                    let _ = stream.set_nodelay(true);
                    streams.lock().unwrap().extend(stream.try_clone());
                }
                pump(&stream, &onward);
                pump(&onward, &stream);
            }
        });
        Ok(cable)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
        if is_cut {
            for stream in self.streams.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn pump(from: &TcpStream, to: &TcpStream) {
    if let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
