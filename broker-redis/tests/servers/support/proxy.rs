use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

/// A network in front of a server, which can hold back what old connections send.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    held: Arc<(Mutex<Held>, Condvar)>,
}

#[derive(Debug, Default)]
struct Held {
    /// The number of connections made.
    made: usize,
    /// Connections below this number are held in these directions.
    below: usize,
    to_server: bool,
    to_client: bool,
    /// The next publication is refused, as by a server that is not ready.
    refuses: bool,
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::<(Mutex<Held>, Condvar)>::default();
        let shared = Arc::clone(&held);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let number = shared.0.lock().unwrap().made;
                shared.0.lock().unwrap().made += 1;
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (forth, shared) = ((client, server), Arc::clone(&shared));
                let other = Arc::clone(&shared);
                thread::spawn(move || copy(forth, &shared, |held| held.to_server && number < held.below));
                thread::spawn(move || copy(back, &other, |held| held.to_client && number < held.below));
            }
        });
        Self { port, held }
    }

    /// Holds back what the present connections send in these directions; new ones are not held.
    pub(crate) fn hold(&self, to_server: bool, to_client: bool) {
        let mut held = self.lock();
        held.below = held.made;
        (held.to_server, held.to_client) = (to_server, to_client);
    }

    /// Holds back what all connections send in these directions, also those that are made from now on.
    pub(crate) fn hold_all(&self, to_server: bool, to_client: bool) {
        let mut held = self.lock();
        held.below = usize::MAX;
        (held.to_server, held.to_client) = (to_server, to_client);
    }

    /// Has the next publication refused, as by a server that is not ready; those behind it in the same request are not.
    pub(crate) fn refuse_one(&self) {
        self.lock().refuses = true;
    }

    /// Passes on what was held back.
    pub(crate) fn release(&self) {
        self.lock().below = 0;
        self.held.1.notify_all();
    }

    /// Returns the number of connections that were made.
    pub(crate) fn made(&self) -> usize {
        self.lock().made
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.0.lock().unwrap()
    }
}

impl Held {
    /// Returns what is passed on of what was sent.
    fn pass(&mut self, sent: &[u8]) -> Vec<u8> {
        const UNKNOWN: &[u8] = b"-ERR unknown command";
        if let Some(at) = find(sent, b"PUBLISH").filter(|_| self.refuses) {
            self.refuses = false;
            return [&sent[..at], b"REFUSED", &sent[at + 7..]].concat();
        }
        match find(sent, UNKNOWN) {
            Some(at) => [&sent[..at], b"-LOADING not ready", &sent[at + UNKNOWN.len()..]].concat(),
            None => sent.to_vec(),
        }
    }
}

fn find(sent: &[u8], text: &[u8]) -> Option<usize> {
    sent.windows(text.len()).position(|part| part == text)
}

fn copy(
    (mut from, mut to): (TcpStream, TcpStream),
    shared: &(Mutex<Held>, Condvar),
    is_held: impl Fn(&Held) -> bool,
) {
    let mut buffer = [0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let held = shared.0.lock().unwrap();
        let mut held = shared.1.wait_while(held, |held| is_held(held)).unwrap();
        let passed = held.pass(&buffer[..read]);
        drop(held);
        if read == 0 || to.write_all(&passed).is_err() {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            return;
        }
    }
}
