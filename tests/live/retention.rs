//! Retention on real files: what rotates, what waits for a human, and a plan that a night overtook.

use crate::support::Disk;
use crate::support::KIB;
use crate::support::Live;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::knib::Output;
use crate::support::oracle;

const POLICY: &str = r#"
version: 1
storage:
  nas: { path: $DIR/storage, minFree: 0% }
offerings:
  plain: { backupChainSize: 2 }
policies:
  databases:
    select: { names: ["$RUN-db-*"] }
    offering: plain
    storage: nas
    schedules: { nightly: { cron: "0 2 * * *" } }
    retention: { keepLast: 3 }
"#;

struct Night<'a> {
    live: &'a Live,
    vm: Vm,
}

impl<'a> Night<'a> {
    /// A VM with one disk, and the policy for it.
    fn begin(live: &'a Live) -> Self {
        live.policy(POLICY);
        let vm = live.vm("db-01").disk(Disk::qcow2("vda", 16 * MIB));
        let vm = vm.start_paused();
        Self { live, vm }
    }

    fn at(&self, now: &str, args: &[&str]) -> Output {
        self.live.knib_with(args).env("KNIB_NOW", now).run()
    }

    /// A night's apply, with new writes before it.
    fn apply(&self, day: u8) -> Output {
        self.vm
            .write("vda", u64::from(day) * 64 * KIB, day, 64 * KIB);
        let now = format!("2026-11-{day}T02:10:00Z");
        self.at(&now, &["apply", "--auto-approve"])
    }

    /// The ids that are listed, oldest first, and those whose files are there.
    fn backups(&self) -> (Vec<String>, usize) {
        let list = self
            .live
            .knib(["backup", "list", "--format", "json"])
            .exits(0)
            .json();
        let ids = list.as_array().expect("an array").iter();
        let ids = ids.map(|one| one["id"].as_str().expect("an id").to_owned());
        let dir = self.live.path("storage").join(self.vm.uuid());
        let dirs = std::fs::read_dir(dir).expect("it is there");
        let there = dirs.filter(|entry| {
            entry
                .as_ref()
                .is_ok_and(|one| one.path().join("backup.json").exists())
        });
        (ids.collect(), there.count())
    }
}

#[test]
fn rotation_and_an_edit_that_waits_for_a_human() {
    let live = Live::new();
    let night = Night::begin(&live);
    for day in 21..=23 {
        night.apply(day).exits(0);
    }
    let truth = night.vm.truth("vda");
    let (three, _) = night.backups();
    assert_eq!(three.len(), 3);
    // The first is let go and the second needs its files; the night after, both go.
    night.apply(24).exits(0);
    assert_eq!(night.backups().1, 4);
    night.apply(25).exits(0);
    let (left, there) = night.backups();
    assert_eq!((left.len(), there), (3, 3));
    assert_eq!(left[0], three[2]);

    // An edit: blocked as often as it is applied, and nothing else is held up.
    live.policy(&POLICY.replace("keepLast: 3", "keepLast: 1"));
    for minute in [20, 30] {
        let now = format!("2026-11-25T02:{minute}:00Z");
        let output = night.at(&now, &["apply", "--auto-approve"]).exits(3);
        assert!(output.stdout.contains("--allow-destructive 2"), "{output}");
        assert_eq!(night.backups().0, left);
    }
    let explained = night
        .at("2026-11-25T02:35:00Z", &["explain", "backup", &left[0]])
        .exits(0);
    assert!(
        explained.stdout.contains("stays: last 3 of 3"),
        "{explained}"
    );
    let wrong = ["apply", "--auto-approve", "--allow-destructive", "1"];
    night.at("2026-11-25T02:40:00Z", &wrong).exits(3);
    assert_eq!(night.backups().0, left);
    // What is left is what it was.
    let first = live
        .path("storage")
        .join(night.vm.uuid())
        .join(&left[0])
        .join("vda.qcow2");
    oracle::assert_same(&first, &truth);

    // One of the two: its files stay, for the other needs them.
    live.policy(&POLICY.replace("keepLast: 3", "keepLast: 2"));
    let right = ["apply", "--auto-approve", "--allow-destructive", "1"];
    night.at("2026-11-25T02:45:00Z", &right).exits(0);
    assert_eq!(night.backups(), (left[1..].to_vec(), 3));
    // The other by a saved plan: what it alone needed goes with it, and there is nothing left to do.
    live.policy(&POLICY.replace("keepLast: 3", "keepLast: 1"));
    let save = ["plan", "-o", "plan.json"];
    let saved = night.at("2026-11-25T02:46:00Z", &save).exits(0);
    assert!(saved.stdout.contains("1 backup stays for now"), "{saved}");
    let right = [
        "apply",
        "plan.json",
        "--auto-approve",
        "--allow-destructive",
        "1",
    ];
    night.at("2026-11-25T02:47:00Z", &right).exits(0);
    assert_eq!(night.backups(), (left[2..].to_vec(), 1));
    let plan = night
        .at("2026-11-25T02:50:00Z", &["plan", "--detailed-exitcode"])
        .exits(0);
    assert!(plan.stdout.starts_with("No changes."), "{plan}");
}

/// Its configuration is applied after the night; its backup, which the night has made, is not made again.
#[test]
fn a_plan_made_before_a_night() {
    let live = Live::new();
    let night = Night::begin(&live);
    night.apply(21).exits(0);
    live.policy(&POLICY.replace("plain: {", "plain: { description: nightly,"));
    let save = ["plan", "-o", "plan.json"];
    night.at("2026-11-22T02:05:00Z", &save).exits(0);
    // The timer came first, with the old text.
    let changed = std::fs::read(live.path("knib.yaml")).expect("it is there");
    live.policy(POLICY);
    night.apply(22).exits(0);
    std::fs::write(live.path("knib.yaml"), changed).expect("writable");
    let before = night.backups();

    let apply = ["apply", "plan.json", "--auto-approve"];
    let output = night.at("2026-11-22T08:00:00Z", &apply).exits(4);
    assert!(
        output.stdout.contains("its slot was served since"),
        "{output}"
    );
    assert_eq!(night.backups(), before);
    let offering = live
        .knib(["offering", "list", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(offering[0]["description"], "nightly");
    let again = night.at("2026-11-22T08:10:00Z", &["plan"]).exits(0);
    assert!(again.stdout.starts_with("No changes."), "{again}");

    // Left out, it is none of the plan's business.
    let save = ["plan", "-o", "next.json"];
    night.at("2026-11-23T02:05:00Z", &save).exits(0);
    night.apply(23).exits(0);
    let apply = ["apply", "next.json", "--auto-approve", "--skip-superseded"];
    let output = night.at("2026-11-23T08:00:00Z", &apply).exits(0);
    assert!(output.stderr.contains("left out: backup."), "{output}");
}

/// A clock that was put back decides nothing.
#[test]
fn a_clock_that_was_put_back() {
    let live = Live::new();
    let night = Night::begin(&live);
    night.apply(21).exits(0);
    let before = "2026-11-20T12:00:00Z";
    let plan = night.at(before, &["plan"]).exits(0);
    assert!(plan.stdout.contains("warning: the clock says"), "{plan}");
    let refused = night.at(before, &["apply", "--auto-approve"]).exits(3);
    assert!(refused.stderr.contains("--accept-clock"), "{refused}");
    night
        .at(before, &["apply", "--auto-approve", "--accept-clock"])
        .exits(0);
}
