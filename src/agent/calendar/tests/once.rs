//! What happens once is worked out when the calendar is read: the same as what each query works out.

use std::fmt::Write as _;

use super::*;
use crate::core::random::Random;

/// Events about the changes of clocks in 2026, and the same with an exception long before any of them, which nothing but a
/// query looks at.
fn events(random: &mut Random) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    let pick = |random: &mut Random, all: &[&'static str]| all[random.below(all.len() as u64) as usize];
    for number in 0..40 {
        let day = pick(
            random,
            &["20260307", "20260308", "20260328", "20260329", "20261024", "20261025", "20261101"],
        );
        let later = pick(random, &["20261101", "20261102", "20261125", "20271201"]);
        let clock = |random: &mut Random| format!("T{:02}{:02}00", random.below(24), 15 * random.below(4));
        let zone = |random: &mut Random| {
            let zones =
                ["TZID=Europe/Berlin", "TZID=America/New_York", "TZID=Pacific/Apia", "TZID=Own", "Z", ""];
            pick(random, &zones)
        };
        let time = |name: &str, day: &str, zone: &str, random: &mut Random| match zone {
            "" | "Z" => format!("{name}:{day}{}{zone}", clock(random)),
            _ => format!("{name};{zone}:{day}{}", clock(random)),
        };
        let (from, to) = (zone(random), zone(random));
        let start = time("DTSTART", day, from, random);
        let length = match random.below(6) {
            0 => time("DTEND", later, from, random),
            1 => time("DTEND", later, to, random),
            2 => "DURATION:P1D".to_owned(),
            3 => "DURATION:P1DT2H".to_owned(),
            4 => "DURATION:PT90M".to_owned(),
            _ => String::new(),
        };
        let status = pick(random, &["CONFIRMED", "TENTATIVE", "CANCELLED"]);
        // Some are two of one UID.
        let uid = number - number % (1 + random.below(2));
        for (text, except) in texts.iter_mut().zip(["", "EXDATE:19900101T000000Z"]) {
            let lines =
                format!("UID:{uid}\n{start}\n{length}\nSTATUS:{status}\n{except}").replace("\n\n", "\n");
            let _ = write!(text, "BEGIN:VEVENT\n{}\nEND:VEVENT\n", lines.trim());
        }
    }
    let own = "BEGIN:VTIMEZONE\nTZID:Own\nBEGIN:STANDARD\nDTSTART:20250101T000000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0200\n\
               END:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:20260329T020000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0330\nEND:DAYLIGHT\n\
               END:VTIMEZONE\n";
    texts.map(|events| calendar(&format!("{own}{events}")))
}

#[test]
fn what_happens_once_is_as_each_query_would_have_it() {
    let mut random = Random::new(4_791);
    let mut blocked = 0;
    for _ in 0..60 {
        let [once, looked_at] = events(&mut random).map(|text| Calendar::parse("alice.ics", &text).unwrap());
        for home in ["UTC", "Asia/Tokyo", "America/Los_Angeles"] {
            let home = known_zone(home).unwrap();
            for _ in 0..10 {
                let start = at("20260301") + chrono::TimeDelta::minutes(random.below(450 * 24 * 60) as i64);
                let length = [30, 600, 20_000, 900_000][random.below(4) as usize];
                let range = TimeRange { start, end: start + chrono::TimeDelta::minutes(length) };
                let found = once.busy(range, &home).unwrap();
                assert_eq!(found, looked_at.busy(range, &home).unwrap(), "{range:?}");
                blocked += found.busy.len();
            }
        }
    }
    assert!(blocked > 1_000, "only {blocked}");
}
