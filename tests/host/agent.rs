//! Freezing, with an agent that this test is: it answers on the channel's socket.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use knib::host::Host;
use knib::model::fault::Fault;
use knib::model::machine::Agent as Channel;
use serde_json::Value;
use serde_json::json;

use crate::host::lab::*;

/// How this agent behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Obeys,
    /// Its hook takes longer than anybody waits.
    NeverFreezes,
    /// Freezes and cannot thaw.
    NeverThaws,
}

/// A VM whose guest agent is a thread here.
struct Guest {
    lab: Lab,
    vm: Vm,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Guest {
    async fn new(manner: Manner) -> Self {
        let lab = Lab::new();
        let a = lab.image("a.qcow2", "qcow2", MIB);
        // QEMU connects to it, as its user.
        let socket = lab.path("agent.sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        run("chmod", &["0666", socket.as_str()]);
        let asked = Arc::default();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("QEMU connects");
            answer(&stream, manner, &heard);
        });
        let channel = format!(
            "<channel type='unix'><source mode='connect' path='{socket}'/>\
             <target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        );
        let vm = lab.vm_with(&[("vda", &a)], &channel);
        vm.start();
        Self { lab, vm, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn answer(stream: &UnixStream, manner: Manner, heard: &Mutex<Vec<String>>) {
    let mut frozen = false;
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        let text = String::from_utf8_lossy(&line).replace('\u{fffd}', "");
        let Ok(order) = serde_json::from_str::<Value>(text.trim()) else {
            continue;
        };
        let name = order["execute"].as_str().unwrap_or_default().to_owned();
        heard.lock().expect("no panic").push(name.clone());
        let value = match name.as_str() {
            "guest-sync" | "guest-sync-delimited" => order["arguments"]["id"].clone(),
            "guest-fsfreeze-freeze" if manner == Manner::NeverFreezes => continue,
            "guest-fsfreeze-thaw" if manner == Manner::NeverThaws => continue,
            "guest-fsfreeze-freeze" => {
                frozen = true;
                json!(1)
            }
            "guest-fsfreeze-thaw" => {
                frozen = false;
                json!(1)
            }
            "guest-fsfreeze-status" => json!(if frozen { "frozen" } else { "thawed" }),
            _ => json!({}),
        };
        let mut answer = if name == "guest-sync-delimited" {
            vec![0xff]
        } else {
            Vec::new()
        };
        answer.extend(json!({ "return": value }).to_string().bytes());
        answer.push(b'\n');
        let mut stream = stream;
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_guest_is_frozen_for_the_snapshot_alone() {
    let guest = Guest::new(Manner::Obeys).await;
    let host = host().await;
    assert_eq!(guest.vm.machine(&host).await.agent, Channel::Connected);
    assert!(!host.is_frozen(&guest.vm.id).await.expect("asked"));
    let overlay = new_overlay("vda", &guest.lab.path("a.1"));
    host.snapshot(&guest.vm.id, &[overlay], &[], Some(LIMIT))
        .await
        .expect("taken");
    assert_eq!(guest.vm.source("vda", &[]), guest.lab.at("a.1"));
    let asked = guest.asked();
    let asked: Vec<_> = asked
        .iter()
        .filter(|order| order.contains("fsfreeze"))
        .collect();
    assert_eq!(
        asked,
        [
            "guest-fsfreeze-status",
            "guest-fsfreeze-freeze",
            "guest-fsfreeze-thaw"
        ]
    );
    assert!(!host.is_frozen(&guest.vm.id).await.expect("asked"));
}

#[tokio::test]
async fn without_a_wish_nobody_is_frozen() {
    let guest = Guest::new(Manner::Obeys).await;
    let overlay = new_overlay("vda", &guest.lab.path("a.1"));
    host()
        .await
        .snapshot(&guest.vm.id, &[overlay], &[], None)
        .await
        .expect("taken");
    assert!(
        guest
            .asked()
            .iter()
            .all(|order| !order.contains("fsfreeze"))
    );
}

#[tokio::test]
async fn a_freeze_that_takes_too_long_leaves_the_vm_as_it_was() {
    let guest = Guest::new(Manner::NeverFreezes).await;
    let host = host().await;
    let overlay = new_overlay("vda", &guest.lab.path("a.1"));
    let begun = Instant::now();
    let error = host
        .snapshot(&guest.vm.id, &[overlay], &[], Some(LIMIT))
        .await;
    let error = error.expect_err("it does not freeze");
    assert_eq!(error.fault, Fault::Agent, "{error}");
    assert!(
        begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT * 10,
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(guest.vm.source("vda", &[]), guest.lab.at("a.qcow2"));
    assert!(!guest.lab.path("a.1").exists());
}

/// The overlays are there then: whoever asked must look again.
#[tokio::test]
async fn a_thaw_that_fails_comes_after_the_snapshot() {
    let guest = Guest::new(Manner::NeverThaws).await;
    let host = host().await;
    let overlay = new_overlay("vda", &guest.lab.path("a.1"));
    let error = host
        .snapshot(&guest.vm.id, &[overlay], &[], Some(LIMIT))
        .await;
    assert_eq!(error.expect_err("it does not thaw").fault, Fault::Agent);
    assert_eq!(guest.vm.source("vda", &[]), guest.lab.at("a.1"));
    assert!(host.is_frozen(&guest.vm.id).await.expect("asked"));
}

#[tokio::test]
async fn a_frozen_guest_is_thawed() {
    let guest = Guest::new(Manner::Obeys).await;
    let host = host().await;
    virsh(&["domfsfreeze", &guest.vm.name]);
    assert!(host.is_frozen(&guest.vm.id).await.expect("asked"));
    host.thaw(&guest.vm.id).await.expect("thawed");
    assert!(!host.is_frozen(&guest.vm.id).await.expect("asked"));
}

#[tokio::test]
async fn a_guest_without_an_agent_cannot_be_frozen() {
    let lab = Lab::new();
    let vm = lab.vm(&[("vda", &lab.image("a.qcow2", "qcow2", MIB))]);
    let host = host().await;
    let overlay = [new_overlay("vda", &lab.path("a.1"))];
    vm.start();
    let error = host
        .snapshot(&vm.id, &overlay, &[], Some(LIMIT))
        .await
        .expect_err("no agent");
    assert_eq!(error.fault, Fault::Agent, "{error}");
    assert_eq!(
        host.is_frozen(&vm.id).await.expect_err("no agent").fault,
        Fault::Agent
    );
    assert_eq!(
        host.thaw(&vm.id).await.expect_err("no agent").fault,
        Fault::Agent
    );
    assert_eq!(vm.source("vda", &[]), lab.at("a.qcow2"));
    // Off, there is nothing to freeze.
    vm.stop();
    host.snapshot(&vm.id, &overlay, &[], Some(LIMIT))
        .await
        .expect("taken");
    assert_eq!(vm.source("vda", &[]), lab.at("a.1"));
}
