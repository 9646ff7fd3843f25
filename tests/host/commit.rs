//! Block commit of running VMs, and of stopped ones by qemu-img.

use knib::host::Host;
use knib::host::Local;
use knib::model::bytes::Bytes;
use knib::model::fault::Fault;
use knib::model::machine::JobKind;
use knib::model::step::Image;

use crate::host::lab::*;

/// A VM with a chain `a <- 1 <- 2`, something else written into each.
struct Tower {
    lab: Lab,
    vm: Vm,
    truth: Truth,
    base: Image,
}

impl Tower {
    async fn new(host: &Local, format: &str) -> Self {
        let lab = Lab::new();
        let base = lab.image("a", format, 4 * MIB);
        let vm = lab.vm(&[("vda", &base)]);
        let truth = Truth::new(&lab, 4 * MIB);
        vm.start();
        vm.write("vda", 1, 0, MIB);
        truth.write(1, 0, MIB);
        for (n, pattern) in [("1", 2), ("2", 3)] {
            let overlay = new_overlay("vda", &lab.path(n));
            host.snapshot(&vm.id, &[overlay], &[], None)
                .await
                .expect("taken");
            let at = u64::from(pattern) * 512 * KIB;
            vm.write("vda", pattern, at, MIB);
            truth.write(pattern, at, MIB);
        }
        vm.qemu_io("vda", "write -z 0 64k");
        truth.write(0, 0, 64 * KIB);
        Self {
            lab,
            vm,
            truth,
            base,
        }
    }

    async fn chain(&self, host: &Local) -> Vec<String> {
        let machine = self.vm.machine(host).await;
        let chain = machine.disks[0].live.iter();
        chain
            .map(|path| path.file_name().expect("a file").to_owned())
            .collect()
    }

    async fn wait_until_gone(&self, host: &Local) {
        while let Some(job) = host.job(&self.vm.id, &target("vda")).await.expect("asked") {
            assert_eq!(job.kind, JobKind::Commit);
        }
    }
}

#[tokio::test]
async fn of_a_layer_below_the_active_one() {
    let host = host().await;
    for format in ["qcow2", "raw"] {
        let tower = Tower::new(&host, format).await;
        let (top, base) = (tower.lab.path("1"), tower.base.path.clone());
        host.commit(&tower.vm.id, &target("vda"), &top, &base)
            .await
            .expect("begun");
        tower.wait_until_gone(&host).await;
        assert_eq!(tower.chain(&host).await, ["2", "a"]);
        assert!(top.exists(), "nothing is deleted");
        let machine = tower.vm.machine(&host).await;
        assert_eq!(machine.disks[0].source, machine.disks[0].inactive);
        tower.vm.stop();
        tower.truth.is(&qcow2(&tower.lab.path("2")));
        // The stopped VM's definition agrees with the headers: it starts, and on the same chain.
        tower.vm.start();
        assert_eq!(tower.chain(&host).await, ["2", "a"]);
    }
}

#[tokio::test]
async fn of_the_active_layer_and_pivot() {
    let host = host().await;
    for format in ["qcow2", "raw"] {
        let tower = Tower::new(&host, format).await;
        let vda = target("vda");
        let top = tower.lab.path("2");
        host.commit(&tower.vm.id, &vda, &top, &tower.base.path)
            .await
            .expect("begun");
        let again = host
            .commit(&tower.vm.id, &vda, &top, &tower.base.path)
            .await;
        assert_eq!(again.expect_err("one works already").fault, Fault::Busy);
        let overlay = new_overlay("vda", &tower.lab.path("3"));
        let refused = host.snapshot(&tower.vm.id, &[overlay], &[], None).await;
        assert_eq!(refused.expect_err("a job works").fault, Fault::Busy);

        let job = loop {
            let job = host
                .job(&tower.vm.id, &vda)
                .await
                .expect("asked")
                .expect("it stays");
            if job.ready {
                break job;
            }
        };
        assert_eq!(job.kind, JobKind::ActiveCommit);
        assert_eq!(job.done, job.total);
        assert_eq!(tower.vm.machine(&host).await.disks[0].job, Some(job));
        // The guest goes on until the pivot, and nothing of it is lost.
        tower.vm.write("vda", 9, 3 * MIB, 64 * KIB);
        tower.truth.write(9, 3 * MIB, 64 * KIB);
        host.end_job(&tower.vm.id, &vda, true)
            .await
            .expect("pivoted");

        assert_eq!(host.job(&tower.vm.id, &vda).await.expect("asked"), None);
        assert_eq!(tower.chain(&host).await, ["a"]);
        for flags in [&[][..], &["--inactive"]] {
            assert_eq!(tower.vm.source("vda", flags), tower.base.path);
        }
        assert!(
            top.exists() && tower.lab.path("1").exists(),
            "nothing is deleted"
        );
        tower.vm.stop();
        tower.truth.is(&tower.base);
    }
}

#[tokio::test]
async fn that_is_given_up() {
    let host = host().await;
    let tower = Tower::new(&host, "qcow2").await;
    let (vda, top) = (target("vda"), tower.lab.path("2"));
    let error = host
        .end_job(&tower.vm.id, &vda, true)
        .await
        .expect_err("no job");
    assert_eq!(error.fault, Fault::Conflict, "{error}");
    host.commit(&tower.vm.id, &vda, &top, &tower.base.path)
        .await
        .expect("begun");
    host.end_job(&tower.vm.id, &vda, false)
        .await
        .expect("stopped");
    wait_for("its end", || {
        virsh(&["blockjob", &tower.vm.name, "vda"])
            .trim()
            .is_empty()
            .then_some(())
    });
    assert_eq!(tower.chain(&host).await, ["2", "1", "a"]);
    tower.vm.stop();
    tower.truth.is(&qcow2(&top));
}

#[tokio::test]
async fn of_files_that_are_not_in_that_order() {
    let host = host().await;
    let tower = Tower::new(&host, "qcow2").await;
    let (vda, path) = (target("vda"), |name: &str| tower.lab.path(name));
    for (top, base) in [
        ("1", "2"),
        ("1", "1"),
        ("2", "elsewhere"),
        ("elsewhere", "a"),
    ] {
        let error = host
            .commit(&tower.vm.id, &vda, &path(top), &path(base))
            .await;
        assert_eq!(
            error.expect_err("refused").fault,
            Fault::Conflict,
            "{top} {base}"
        );
    }
    let error = host
        .commit(&tower.vm.id, &target("vdz"), &path("1"), &path("a"))
        .await;
    assert_eq!(error.expect_err("no such disk").fault, Fault::Conflict);
    tower.vm.stop();
    let error = host
        .commit(&tower.vm.id, &vda, &path("1"), &path("a"))
        .await;
    assert_eq!(error.expect_err("it is off").fault, Fault::Conflict);
    assert_eq!(host.job(&tower.vm.id, &vda).await.expect("asked"), None);
}

/// Somebody reads the base: the job cannot begin, and may in a moment.
#[tokio::test]
async fn beside_a_reader_is_busy() {
    let host = host().await;
    let tower = Tower::new(&host, "qcow2").await;
    let mut reader = std::process::Command::new("qemu-nbd")
        .args([
            "-r",
            "-t",
            "-f",
            "qcow2",
            "-k",
            &tower.lab.at("nbd.sock"),
            tower.base.path.as_str(),
        ])
        .spawn()
        .expect("qemu-nbd is installed");
    wait_for("the reader", || {
        tower.lab.path("nbd.sock").exists().then_some(())
    });
    let top = tower.lab.path("1");
    let error = host
        .commit(&tower.vm.id, &target("vda"), &top, &tower.base.path)
        .await;
    reader.kill().expect("killed");
    reader.wait().expect("ended");
    assert_eq!(error.expect_err("it is read").fault, Fault::Busy);
    host.commit(&tower.vm.id, &target("vda"), &top, &tower.base.path)
        .await
        .expect("begun");
}

#[tokio::test]
async fn of_a_vm_that_is_off() {
    let host = host().await;
    let quiet = Quiet::new();
    for format in ["qcow2", "raw"] {
        let tower = Tower::new(&host, format).await;
        let (one, two) = (qcow2(&tower.lab.path("1")), qcow2(&tower.lab.path("2")));
        let busy = host.commit_offline(&two, &tower.base, &quiet.task()).await;
        assert_eq!(busy.expect_err("the VM runs").fault, Fault::Busy);
        tower.vm.stop();
        let before = host.layers(&one).await.expect("read")[0].allocated;
        host.commit_offline(&one, &tower.base, &quiet.task())
            .await
            .expect("committed");
        tower.truth.is(&two);
        let after = host.layers(&one).await.expect("read")[0].allocated;
        assert_eq!(after, before, "it keeps what it holds");
        host.commit_offline(&two, &tower.base, &quiet.task())
            .await
            .expect("committed");
        tower.truth.is(&tower.base);
        tower.truth.is(&two);
        // Once more is the same as once.
        host.commit_offline(&two, &tower.base, &quiet.task())
            .await
            .expect("committed");
        tower.truth.is(&tower.base);
    }
}

#[tokio::test]
async fn of_a_disk_that_shrank_and_one_that_grew() {
    let host = host().await;
    let quiet = Quiet::new();
    for (format, size) in [
        ("qcow2", 2 * MIB),
        ("raw", 2 * MIB),
        ("qcow2", 6 * MIB),
        ("raw", 6 * MIB),
    ] {
        let lab = Lab::new();
        let base = lab.image("a", format, 4 * MIB);
        let truth = Truth::new(&lab, 4 * MIB);
        qemu_io(&base, &["write -P 1 0 4M"]);
        truth.write(1, 0, 4 * MIB);
        let top = lab.overlay("1", &base);
        qemu_img(&[
            "resize",
            "-q",
            "--shrink",
            "-f",
            "qcow2",
            top.path.as_str(),
            &size.to_string(),
        ]);
        truth.resize(size);
        qemu_io(&top, &["write -P 2 1M 64k"]);
        truth.write(2, MIB, 64 * KIB);
        host.commit_offline(&top, &base, &quiet.task())
            .await
            .expect("committed");
        host.shrink(&base, Bytes(size)).await.expect("cut");
        truth.is(&base);
        host.shrink(&base, Bytes(size))
            .await
            .expect("it has that size");
        let error = host
            .shrink(&base, Bytes(size + MIB))
            .await
            .expect_err("that is no cut");
        assert_eq!(error.fault, Fault::Conflict);
        truth.is(&base);
    }
}
