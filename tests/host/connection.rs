//! A daemon that goes away and comes back, as one does that is restarted: here a socket in between.

use std::io::copy;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use knib::host::Host;
use knib::host::Local;
use knib::model::fault::Fault;

use crate::host::lab::*;

const DAEMON: &str = "/run/libvirt/libvirt-sock";

/// Passes every connection on to the daemon, until it is cut.
fn pass_on(listener: UnixListener, open: Arc<Mutex<Vec<UnixStream>>>) {
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let daemon = UnixStream::connect(DAEMON).expect("the daemon answers");
            let both = [(&client, &daemon), (&daemon, &client)];
            for (from, to) in both.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                let (mut from, mut to) = (from.expect("cloned"), to.expect("cloned"));
                thread::spawn(move || copy(&mut from, &mut to));
            }
            open.lock().expect("no panic").extend([client, daemon]);
        }
    });
}

#[tokio::test]
async fn a_daemon_that_was_restarted_is_connected_to_again() {
    let lab = Lab::new();
    let socket = lab.path("libvirt-sock");
    let open = Arc::default();
    let listen = || UnixListener::bind(&socket).expect("bound");
    let cut = |open: &Mutex<Vec<UnixStream>>| {
        for stream in open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    };
    pass_on(listen(), Arc::clone(&open));
    let host = Local::connect(&format!("qemu+unix:///system?socket={socket}")).await;
    let host = host.expect("connected");
    let before = host.identity().await.expect("told");

    std::fs::remove_file(&socket).expect("removed");
    cut(&open);
    let error = host.identity().await.expect_err("nobody listens");
    assert_eq!(error.fault, Fault::Busy, "{error}");
    assert!(error.hint.is_some());

    pass_on(listen(), Arc::clone(&open));
    assert_eq!(host.identity().await.expect("told"), before);
    cut(&open);
    assert_eq!(host.identity().await.expect("told"), before);
}
