//! What a VM needs besides its disks to be started elsewhere.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::site::Site;

/// Something of libvirt's that no sandbox takes away.
struct Defined {
    name: String,
    undefine: &'static str,
}

impl Defined {
    #[track_caller]
    fn new(site: &Site, kind: &'static str, xml: &str) -> Self {
        let file = site.path(&format!("{kind}.xml"));
        fs::write(&file, site.fill_in(xml)).expect("the directory is the test's own");
        let undefine = match kind {
            "net" => "net-undefine",
            _ => "pool-undefine",
        };
        virsh([Path::new(&format!("{kind}-define")), &file]).must();
        Self {
            name: site.fill_in(&format!("$RUN-{kind}")),
            undefine,
        }
    }
}

/// What an emulated TPM has left of its runs.
struct Tpm {
    state: PathBuf,
    /// What the test made for it: it goes.
    made: PathBuf,
}

impl Tpm {
    #[track_caller]
    fn new(vm: &Vm) -> Self {
        let all = Path::new("/var/lib/libvirt/swtpm");
        let state = all.join(vm.uuid());
        let made = if all.exists() { &state } else { all };
        let made = made.to_owned();
        fs::create_dir_all(state.join("tpm2")).expect("only root runs the tests");
        let file = state.join("tpm2/tpm2-00.permall");
        fs::write(file, "what it keeps").expect("only root runs the tests");
        Self { state, made }
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.made);
    }
}

impl Drop for Defined {
    fn drop(&mut self) {
        let _ = virsh([self.undefine, &self.name]);
    }
}

#[test]
fn firmware_boot_files_networks_and_pools_are_in_the_backup() {
    let site = Site::new();
    for (name, mib) in [("code", 1), ("vars", 1), ("kernel", 3), ("initrd", 5)] {
        let file = site.path(name);
        let script = format!("head -c {mib}M /dev/urandom >'{}'", file.display());
        run("sh", ["-c", &script]).must();
    }
    let net = Defined::new(
        &site,
        "net",
        "<network><name>$RUN-net</name><bridge name='knib-test0'/></network>",
    );
    let pool = Defined::new(
        &site,
        "pool",
        "<pool type='dir'><name>$RUN-pool</name><target><path>$DIR/primary</path></target></pool>",
    );
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", MIB))
        .os("<loader readonly='yes' type='pflash'>$DIR/code</loader><nvram>$DIR/vars</nvram>")
        .os("<kernel>$DIR/kernel</kernel><initrd>$DIR/initrd</initrd>")
        .device("<interface type='network'><source network='$RUN-net'/></interface>")
        .device("<interface type='network'><source network='$RUN-gone'/></interface>")
        .device("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>")
        .device(
            "<disk type='volume' device='cdrom'><source pool='$RUN-pool' volume='cd.iso'/>\
             <target dev='sda' bus='sata'/></disk>",
        )
        .define();
    let tpm = Tpm::new(&vm);
    let backup = site.first(&vm);

    for (original, copy) in [
        ("vars", "nvram.fd"),
        ("kernel", "kernel"),
        ("initrd", "initrd"),
    ] {
        let sums = [backup.dir().join(copy), site.path(original)];
        let [copied, wanted] = sums.map(|file| oracle::file_sha256(&file));
        assert_eq!(copied, wanted, "{copy}");
    }
    for (command, one, file) in [
        ("net-dumpxml", &net, format!("network-{}.xml", net.name)),
        ("pool-dumpxml", &pool, format!("pool-{}.xml", pool.name)),
    ] {
        let said = virsh([command, "--inactive", &one.name]).must();
        let kept = fs::read_to_string(backup.dir().join(file)).expect("it is in the backup");
        assert_eq!(kept.trim(), said.trim());
    }
    let unpacked = site.make_dir("tpm");
    let archive = backup.dir().join("tpm.tar").display().to_string();
    let into = unpacked.display().to_string();
    run("tar", ["-xf", &archive, "-C", &into]).must();
    run("diff", ["-r", &into, &tpm.state.display().to_string()]).must();

    let gone = site.fill_in("network-$RUN-gone.xml");
    assert!(!backup.dir().join(gone).exists());

    // Both come back with the VM, and with another one.
    let vars = oracle::file_sha256(&site.path("vars"));
    let disk = vm.source("vda");
    virsh(["undefine", "--nvram", &vm.name]).must();
    assert!(!site.path("vars").exists());
    for gone in [&disk, &vm.disks["vda"]] {
        fs::remove_file(gone).expect("the directory is the test's own");
    }
    let _ = fs::remove_dir_all(&tpm.state);
    site.knib(["restore", "vm", backup.id()]).exits(0);
    assert_eq!(oracle::file_sha256(&site.path("vars")), vars);
    run("diff", ["-r", &into, &tpm.state.display().to_string()]).must();

    let name = format!("{}-new", site.run);
    site.knib(["restore", "new", backup.id(), "--name", &name])
        .exits(0);
    let new = site.defined("new");
    let xml = new.xml(Xml::Inactive);
    let (_, own) = xml.split_once("<nvram").expect("it has its own");
    let own = own.split(['<', '>']).nth(1).expect("it is a file");
    assert_ne!(Path::new(own), site.path("vars"));
    assert_eq!(oracle::file_sha256(Path::new(own)), vars);
    let state = tpm.state.with_file_name(new.uuid());
    let copy = Tpm {
        made: state.clone(),
        state,
    };
    run("diff", ["-r", &into, &copy.state.display().to_string()]).must();
}
