//! Full backup, incremental without a change, restore, quick restore and compression, each against the best that can
//! be done without knib, in turns on the same disk.
//!
//! `cargo bench --bench backup [-- DIR [MIB]]`: needs libvirt at `qemu:///system` and twelve times MIB of
//! room in DIR. Ratios of medians are what counts; the machine's own speed is not knib's. virtnbdbackup
//! is compared with where it is installed.

use std::env;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

const ROUNDS: usize = 3;
const MIB: u64 = 1 << 20;
const VM: &str = "knib-bench";
const KNIB: &str = env!("CARGO_BIN_EXE_knib");

/// Figures of one way of doing something.
struct Row {
    name: &'static str,
    times: Vec<Duration>,
    peak: u64,
}

impl Row {
    fn median(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    }
}

fn main() {
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    let dir = args
        .next()
        .map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
        .join("knib-bench");
    let size = args
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2048);
    let bench = Bench::set_up(&dir, size);
    let rows = bench.measure();
    bench.take_down();
    print(size, &rows);
}

struct Bench {
    dir: PathBuf,
    disk: PathBuf,
}

impl Bench {
    fn set_up(dir: &Path, size: u64) -> Self {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir.join("storage")).expect("a directory to work in");
        // QEMU's group may read what will be there.
        run(Command::new("sh")
            .args([
                "-c",
                "chgrp \"$(id -gn libvirt-qemu || id -gn qemu)\" \"$1\" && chmod g+rxs \"$1\"",
                "sh",
            ])
            .arg(dir.join("storage"))
            .stderr(Stdio::null()));
        let disk = dir.join("disk.qcow2");
        let raw = dir.join("disk.raw");
        fill(&raw, size);
        run(Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "qcow2"])
            .args([&raw, &disk]));
        fs::remove_file(&raw).expect("the raw file goes");
        let bench = Self {
            dir: dir.to_owned(),
            disk,
        };
        bench.write_policy();
        bench.define();
        bench
    }

    fn write_policy(&self) {
        let storage = self.dir.join("storage");
        let text = format!(
            "version: 1\nstate: {0}/state.db\nstorage: {{ nas: {{ path: {1}, minFree: 1MiB }} }}\nofferings: {{ plain: {{ backupChainSize: 0, compress: true, allowQuickRestore: true }} }}\n\
             settings: {{ backup.compression.coroutines: 16 }}\n\
             policies:\n  bench:\n    select: {{ names: [{VM}] }}\n    offering: plain\n    storage: nas\n    first: nextSlot\n    \
             schedules: {{ yearly: {{ cron: \"@yearly\" }} }}\n",
            self.dir.display(),
            storage.display()
        );
        fs::write(self.dir.join("knib.yaml"), text).expect("a policy");
        run(self
            .knib(&["apply", "--auto-approve"])
            .stdout(Stdio::null())
            .stderr(Stdio::null()));
    }

    fn define(&self) {
        let xml = format!(
            "<domain type='qemu'><name>{VM}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>\
             <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
            self.disk.display()
        );
        let path = self.dir.join("vm.xml");
        fs::write(&path, xml).expect("a definition");
        run(Command::new("virsh")
            .arg("define")
            .arg(&path)
            .stdout(Stdio::null()));
        run(Command::new("virsh")
            .args(["start", "--paused", VM])
            .stdout(Stdio::null()));
        run(self
            .knib(&["apply", "--auto-approve"])
            .stdout(Stdio::null())
            .stderr(Stdio::null()));
    }

    fn knib(&self, args: &[&str]) -> Command {
        let mut command = Command::new(KNIB);
        command
            .args(args)
            .current_dir(&self.dir)
            .env_remove("KNIB_STATE")
            .env_remove("KNIB_CONNECT");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn measure(&self) -> Vec<Row> {
        let row = |name| Row {
            name,
            times: Vec::new(),
            peak: 0,
        };
        let mut rows = [
            "qemu-img convert -W -m 16, page cache, and sync",
            "qemu-img convert -W -m 16, direct, and sync",
            "cp --sparse=always and sync",
            "knib backup run --full",
            "knib backup run, nothing changed",
            "qemu-img convert of the backup and sync",
            "knib restore new",
            "virtnbdbackup of the whole VM and sync",
            "qemu-img convert -c -m 16 with zstd and sync",
            "qemu-img convert -c -W -m 16 with zstd and sync",
            "knib's compression of the same file",
            "knib's check of it",
            "virsh start of what was restored",
            "knib restore new --quick, until the VM runs",
            "knib backup verify of the same file",
            "qemu-img convert -c -W -m 16, direct, with zstd and sync",
        ]
        .map(row);
        let others = Command::new("virtnbdbackup")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let out = self.dir.join("out.qcow2");
        for round in 0..ROUNDS {
            // A full backup leaves a delta; the file below it is the same for everybody.
            let disk = &self.disk;
            let convert = |flags: &[&str], from: &Path| {
                let mut command = Command::new("qemu-img");
                command
                    .args([
                        "convert", "-U", "-f", "qcow2", "-O", "qcow2", "-W", "-m", "16",
                    ])
                    .args(flags)
                    .args([from, &out]);
                command
            };
            time(&mut rows[0], &mut convert(&[], disk), &out);
            time(
                &mut rows[1],
                &mut convert(&["-t", "none", "-T", "none"], disk),
                &out,
            );
            time(
                &mut rows[2],
                Command::new("cp").arg("--sparse=always").args([disk, &out]),
                &out,
            );
            time(
                &mut rows[3],
                &mut self.knib(&["backup", "run", VM, "--full"]),
                &out,
            );
            let full = self.newest();
            time(&mut rows[14], &mut self.verify(&full), &out);
            compress_bare(&mut rows, &full, &out);
            let [compressed, compared] = self.compress(&full);
            rows[10].times.push(compressed);
            rows[11].times.push(compared);
            time(&mut rows[4], &mut self.knib(&["backup", "run", VM]), &out);
            // Both read the chain out of the page cache: whoever came first would have read it from disk.
            run(Command::new("qemu-img")
                .args(["convert", "-n", "--target-image-opts"])
                .arg(self.newest())
                .arg("driver=null-co,size=1P"));
            time(&mut rows[5], &mut convert(&[], &self.newest()), &out);
            let name = format!("{VM}-{round}");
            let latest = format!("{VM}@latest");
            time(
                &mut rows[6],
                &mut self.knib(&["restore", "new", &latest, "--name", &name]),
                &out,
            );
            run(Command::new("virsh")
                .args(["undefine", &name])
                .stdout(Stdio::null()));
            let _ = fs::remove_file(self.dir.join(format!("{name}-vda.qcow2")));
            let [start, quick] = self.run_at_once(&format!("{VM}-quick{round}"), &latest);
            rows[12].times.push(start);
            rows[13].times.push(quick);
            if others {
                time(&mut rows[7], &mut self.virtnbdbackup(), &out);
                let _ = fs::remove_dir_all(self.dir.join("virtnbdbackup"));
            }
        }
        rows.into_iter()
            .filter(|row| !row.times.is_empty())
            .collect()
    }

    fn verify(&self, file: &Path) -> Command {
        let dir = file.parent().and_then(Path::file_name);
        let id = dir.and_then(|name| name.to_str()).expect("its directory");
        self.knib(&["backup", "verify", id])
    }

    /// How long a VM's own start takes, and a quick restore until it runs. It is followed to its end.
    fn run_at_once(&self, name: &str, backup: &str) -> [Duration; 2] {
        run(&mut Command::new("sync"));
        let virsh = |args: &[&str]| {
            let mut command = Command::new("virsh");
            command.arg("-q").args(args).stderr(Stdio::null());
            command
        };
        let begun = Instant::now();
        let mut restore = self
            .knib(&["restore", "new", backup, "--name", name, "--quick"])
            .spawn()
            .expect("a program that starts");
        let runs = || {
            let state = virsh(&["domstate", name]).output().expect("virsh");
            state.stdout.starts_with(b"running")
        };
        while !runs() {
            let ended = restore.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended before the VM ran: {ended:?}");
        }
        let quick = begun.elapsed();
        assert!(restore.wait().expect("a program that ends").success());
        run(virsh(&["destroy", name]).stdout(Stdio::null()));
        let begun = Instant::now();
        run(virsh(&["start", name]).stdout(Stdio::null()));
        let start = begun.elapsed();
        run(virsh(&["destroy", name]).stdout(Stdio::null()));
        run(virsh(&["undefine", name]).stdout(Stdio::null()));
        let _ = fs::remove_file(self.dir.join(format!("{name}-vda.qcow2")));
        [start, quick]
    }

    /// Compresses a backup, and how long its conversion and its check took, as the journal has it.
    fn compress(&self, file: &Path) -> [Duration; 2] {
        run(&mut Command::new("sync"));
        run(&mut self.knib(&["apply", "--auto-approve", "--only", "jobs"]));
        let log = self
            .knib(&["log", "--format", "json"])
            .stdout(Stdio::piped())
            .output()
            .expect("a log");
        let log: Value = serde_json::from_slice(&log.stdout).expect("JSON");
        let steps = |run: &Value| run["actions"].as_array().cloned().unwrap_or_default();
        let runs = log.as_array().cloned().unwrap_or_default();
        let steps: Vec<Value> = runs
            .iter()
            .flat_map(steps)
            .flat_map(|action| action["steps"].as_array().cloned().unwrap_or_default())
            .collect();
        let compressed = format!("{}.comp", file.display());
        ["compress vda", "see that vda.qcow2.comp"].map(|begins| {
            // Every backup is compressed once, and the newest is the last.
            let of_it = |step: &&Value| {
                let what = step["what"].as_str().unwrap_or_default();
                what.starts_with(begins)
                    && (what.contains(&compressed) || begins.starts_with("see"))
            };
            let mut took: Vec<_> = steps
                .iter()
                .filter(of_it)
                .map(|step| {
                    let at = |key: &str| {
                        let at = step[key].as_str().expect("an instant");
                        at.parse::<jiff::Timestamp>().expect("an instant")
                    };
                    (at("started"), at("marked"))
                })
                .collect();
            took.sort_unstable();
            let (started, marked) = took.pop().expect("it was compressed");
            Duration::try_from(marked.duration_since(started)).expect("it took some time")
        })
    }

    /// A whole copy without a checkpoint, so that the next one finds the VM as this one did.
    fn virtnbdbackup(&self) -> Command {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "virtnbdbackup -d \"$1\" -l copy -o \"$2\" && sync",
                "sh",
                VM,
            ])
            .arg(self.dir.join("virtnbdbackup"));
        command.stderr(Stdio::null());
        command
    }

    /// The file of the newest backup.
    fn newest(&self) -> PathBuf {
        let vm = fs::read_dir(self.dir.join("storage"))
            .expect("the storage")
            .flatten()
            .find(|entry| entry.path().is_dir());
        let vm = vm.expect("the VM's directory").path();
        let backups = fs::read_dir(vm)
            .expect("its backups")
            .flatten()
            .map(|entry| entry.path());
        let newest = backups
            .filter(|path| path.join("backup.json").exists())
            .max()
            .expect("a backup");
        newest.join("vda.qcow2")
    }

    fn take_down(&self) {
        let _ = Command::new("virsh")
            .args(["destroy", VM])
            .stdout(Stdio::null())
            .status();
        let _ = Command::new("virsh")
            .args(["undefine", VM])
            .stdout(Stdio::null())
            .status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Bytes that do not compress and are not the same twice.
fn fill(path: &Path, mib: u64) {
    let mut random = fs::File::open("/dev/urandom").expect("random bytes");
    let mut file = fs::File::create(path).expect("a file to fill");
    let mut block = vec![0; usize::try_from(MIB).expect("a small number")];
    for _ in 0..mib {
        random.read_exact(&mut block).expect("random bytes");
        file.write_all(&block).expect("room for the disk");
    }
    file.set_len((mib + 512) * MIB).expect("a hole at the end");
}

/// What a compression can be at best: in order and out of it, through the page cache and past it.
fn compress_bare(rows: &mut [Row], from: &Path, out: &Path) {
    let direct = ["-W", "-t", "none", "-T", "none"];
    for (row, more) in [(8, &[][..]), (9, &["-W"]), (15, &direct)] {
        let mut command = Command::new("qemu-img");
        command
            .args(["convert", "-c", "-m", "16", "-f", "qcow2", "-O", "qcow2"])
            .args(["-o", "compression_type=zstd"])
            .args(more)
            .args([from, out]);
        time(&mut rows[row], &mut command, out);
    }
}

/// Times a command and the sync of what it wrote, with the most memory its process had.
fn time(row: &mut Row, command: &mut Command, out: &Path) {
    let _ = fs::remove_file(out);
    run(&mut Command::new("sync"));
    let begun = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .expect("a program that starts");
    let peak = watch(&mut child);
    assert!(
        child.wait().expect("a program that ends").success(),
        "{command:?} failed"
    );
    if let Ok(file) = fs::File::open(out) {
        file.sync_all().expect("synced");
    }
    row.times.push(begun.elapsed());
    row.peak = row.peak.max(peak);
}

/// The most memory a process had until it ended, in KiB.
fn watch(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(now.unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    }
    peak
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} failed");
}

/// The best of the rows whose names begin so.
fn rows_named(rows: &[Row], begin: &str) -> f64 {
    let found = rows.iter().filter(|row| row.name.starts_with(begin));
    found.map(Row::median).fold(f64::INFINITY, f64::min)
}

fn print(size: u64, rows: &[Row]) {
    let mut out = std::io::stdout();
    let best = rows[0].median().min(rows[1].median());
    let _ = writeln!(
        out,
        "{size} MiB of random data, {ROUNDS} rounds in turns, medians"
    );
    for row in rows {
        let against = match row.name {
            "knib backup run --full" => {
                format!("  {:.2} x the faster convert", row.median() / best)
            }
            "knib restore new" => format!(
                "  {:.2} x convert of the same file",
                row.median() / rows[5].median()
            ),
            "knib restore new --quick, until the VM runs" => format!(
                "  {:+.2} s beside the VM's own start",
                row.median() - rows_named(rows, "virsh start")
            ),
            "knib backup verify of the same file" => {
                let mib = f64::from(u32::try_from(size).expect("a small number"));
                let rate = mib / 1024.0 / row.median();
                format!("  {rate:.2} GiB/s, or what the disk gives")
            }
            "knib's compression of the same file" => format!(
                "  {:.2} x the faster convert -c",
                row.median() / rows_named(rows, "qemu-img convert -c")
            ),
            "virtnbdbackup of the whole VM and sync" => {
                format!(
                    "  knib's full takes {:.2} x of it",
                    rows[3].median() / row.median()
                )
            }
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "{:<57} {:>7.2} s  {:>4} MiB{against}",
            row.name,
            row.median(),
            row.peak / 1024
        );
    }
}
