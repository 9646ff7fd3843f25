//! Instants of cron patterns: which patterns are taken, and what happens where clocks change.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use knib::model::calendar::Calendar;
use proptest::prelude::*;

#[test]
fn quick() {
    for p in ["0 0 30 2 *", "0 0 29 2 *", "0 2 * * *", "0 0 31 2,4,6 *"] {
        let t = std::time::Instant::now();
        let c = Calendar::parse(p);
        println!("{p} {:?} {:?}", t.elapsed(), c.as_ref().map(|_| ()));
        if let Ok(c) = c {
            let t = std::time::Instant::now();
            println!("{:?} {:?}", c.shortest_gap(), t.elapsed());
        }
    }
}
