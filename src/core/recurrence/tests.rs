use super::dated::Dated;
use super::*;
use crate::core::random::Random;

fn civil(text: &str) -> civil::DateTime {
    text.parse().unwrap()
}

fn far() -> Instant {
    "9999-01-01T00:00:00Z".parse().unwrap()
}

/// The first `limit` occurrences in Berlin, and an asterisk behind those that are shifted.
fn first(rule: &str, start: &str, limit: usize) -> Vec<String> {
    let rule = Rule::parse(rule).unwrap_or_else(|e| panic!("{rule}: {e}"));
    let found = rule.occurrences(civil(start), "Europe/Berlin", None, limit, far()).unwrap();
    let words = |o: &Occurrence| {
        format!("{}{}", o.civil.strftime("%Y-%m-%d %H:%M"), if o.shifted { "*" } else { "" })
    };
    found.iter().map(words).collect()
}

fn days(rule: &str, start: &str, limit: usize) -> Vec<String> {
    first(rule, start, limit).into_iter().map(|at| at[..10].to_owned()).collect()
}

fn faults(rule: &str) -> Vec<RuleFault> {
    match Rule::parse(rule) {
        Err(RuleError::Malformed(faults)) => faults,
        other => panic!("{rule}: {other:?}"),
    }
}

#[test]
fn every_fault_is_told() {
    use RuleFault::*;
    assert_eq!(faults(""), [NoPart(String::new()), NoFrequency]);
    assert_eq!(faults("FREQ=SOMETIMES"), [Value("FREQ", "SOMETIMES".into())]);
    assert_eq!(
        faults("FREQ=DAILY;INTERVAL=0;COUNT=x;COLOUR=RED;BYHOUR=9,24;FREQ=DAILY"),
        [
            Unknown("COLOUR".into()),
            Twice("FREQ"),
            Value("INTERVAL", "0".into()),
            Value("COUNT", "X".into()),
            Value("BYHOUR", "24".into()),
        ]
    );
    assert_eq!(faults("FREQ=DAILY;COUNT=3;UNTIL=20300101"), [CountAndUntil]);
    assert_eq!(faults("FREQ=DAILY\u{7}"), [Character]);
    assert_eq!(faults("FREQ=DAILY;BYDAY=\u{e9}"), [Character]);
    assert_eq!(faults(&format!("FREQ=DAILY;BYMONTH={}1", "1,".repeat(3_000))), [TooLong]);
    assert_eq!(faults("FREQ=WEEKLY;BYDAY=1MO"), [NotWithFrequency("BYDAY with a number")]);
    assert_eq!(faults("FREQ=MONTHLY;BYWEEKNO=10"), [NotWithFrequency("BYWEEKNO")]);
    assert_eq!(faults("FREQ=MONTHLY;BYSETPOS=1"), [OnlyPositions]);
    assert_eq!(faults("RSCALE=HEBREW;FREQ=YEARLY"), [Scale("HEBREW".into())]);
    assert_eq!(faults("FREQ=MONTHLY;SKIP=FORWARD"), [SkipWithoutScale]);
    for until in ["soon", "20300230", "20300101T", "20300101T250000", "20300101T000000ZZ", "2030-01-01"] {
        assert_eq!(faults(&format!("FREQ=DAILY;UNTIL={until}")), [Value("UNTIL", until.to_uppercase())]);
    }
    let error = Rule::parse("FREQ=DAILY;COUNT=0;WKST=XX").unwrap_err().to_string();
    assert_eq!(error, "the recurrence rule COUNT can't be '0'; WKST can't be 'XX'");
}

#[test]
fn what_programs_write_is_read_leniently() {
    for rule in [
        "freq=weekly;byday=mo, we",
        "FREQ=WEEKLY;BYDAY=1MO;",
        "FREQ=WEEKLY;;INTERVAL=3",
        "FREQ=YEARLY;BYYEARDAY=390",
        "FREQ=DAILY;COUNT=3;UNTIL=20300101;X-WHO=ME",
        "FREQ=MONTHLY;SKIP=BACKWARD",
    ] {
        assert!(Rule::parse_leniently(rule).is_ok(), "{rule}");
        assert!(Rule::parse(rule).is_err() || rule.starts_with("freq"), "{rule}");
    }
    for rule in ["FREQ=DAILY;INTERVAL=-1", "FREQ=WEEKLY;BYMONTHDAY=0", "FREQ=YEARLY;BYDAY=64WE", "BYDAY=MO"] {
        assert!(Rule::parse_leniently(rule).is_err(), "{rule}");
    }
}

#[test]
fn months_without_the_day_are_left_out_or_skip_says_otherwise() {
    let monthly = |skip| days(&format!("FREQ=MONTHLY{skip}"), "2025-01-31T09:00:00", 4);
    assert_eq!(monthly(""), ["2025-01-31", "2025-03-31", "2025-05-31", "2025-07-31"]);
    assert_eq!(monthly(";RSCALE=GREGORIAN;SKIP=OMIT"), monthly(""));
    let backward = monthly(";RSCALE=GREGORIAN;SKIP=BACKWARD");
    assert_eq!(backward, ["2025-01-31", "2025-02-28", "2025-03-31", "2025-04-30"]);
    let forward = monthly(";RSCALE=GREGORIAN;SKIP=FORWARD");
    assert_eq!(forward, ["2025-01-31", "2025-03-01", "2025-03-31", "2025-05-01"]);
    let yearly = |skip| days(&format!("FREQ=YEARLY{skip}"), "2024-02-29T09:00:00", 3);
    assert_eq!(yearly(""), ["2024-02-29", "2028-02-29", "2032-02-29"]);
    // RFC 7529, section 4.1.
    assert_eq!(yearly(";RSCALE=GREGORIAN;SKIP=FORWARD"), ["2024-02-29", "2025-03-01", "2026-03-01"]);
    assert_eq!(yearly(";RSCALE=GREGORIAN;SKIP=BACKWARD"), ["2024-02-29", "2025-02-28", "2026-02-28"]);
}

#[test]
fn a_day_that_is_moved_onto_another_is_there_once() {
    let rule = "RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=1,31;SKIP=FORWARD;COUNT=6";
    assert_eq!(
        days(rule, "2025-01-01T09:00:00", 9),
        ["2025-01-01", "2025-01-31", "2025-02-01", "2025-03-01", "2025-03-31", "2025-04-01"]
    );
    let rule = "RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=-31;SKIP=BACKWARD";
    assert_eq!(
        days(rule, "2025-03-01T09:00:00", 4),
        ["2025-03-01", "2025-03-31", "2025-05-01", "2025-05-31"]
    );
}

#[test]
fn the_wall_clock_is_kept_over_changes_of_the_clocks() {
    // Forward on 30 March 2025 at 02:00, back on 26 October at 03:00.
    assert_eq!(
        first("FREQ=DAILY", "2025-03-29T02:30:00", 3),
        ["2025-03-29 02:30", "2025-03-30 02:30*", "2025-03-31 02:30"]
    );
    let daily = Rule::parse("FREQ=DAILY;COUNT=3").unwrap();
    let at = |start, n: usize| {
        let found = daily.occurrences(civil(start), "Europe/Berlin", None, 9, far()).unwrap();
        assert_eq!(found.len(), 3);
        found[n].instant.to_rfc3339()
    };
    assert_eq!(at("2025-03-29T02:30:00", 1), "2025-03-30T01:30:00+00:00");
    assert_eq!(at("2025-03-29T02:30:00", 2), "2025-03-31T00:30:00+00:00");
    assert_eq!(at("2025-10-25T02:30:00", 1), "2025-10-26T00:30:00+00:00");
    // By the wall clock 02:00 and 03:00 are one hour on that day.
    let hours = first("FREQ=HOURLY", "2025-03-30T01:00:00", 3);
    assert_eq!(hours, ["2025-03-30 01:00", "2025-03-30 03:00", "2025-03-30 04:00"]);
    // A day that a zone skipped.
    let samoa = Rule::parse("FREQ=DAILY;COUNT=3").unwrap();
    let found = samoa.occurrences(civil("2011-12-29T09:00:00"), "Pacific/Apia", None, 9, far()).unwrap();
    assert_eq!(found.iter().map(|o| o.civil.day()).collect::<Vec<_>>(), [29, 31]);
}

#[test]
fn until_is_inclusive_whatever_its_type() {
    let count = |until: &str| first(&format!("FREQ=DAILY;UNTIL={until}"), "2026-01-01T09:00:00", 99).len();
    assert_eq!(count("20260103T080000Z"), 3);
    assert_eq!(count("20260103T075959Z"), 2);
    assert_eq!(count("20260103T090000"), 3);
    assert_eq!(count("20260103T085959"), 2);
    assert_eq!(count("20260104"), 3);
    assert_eq!(count("20251231T000000Z"), 0);
}

#[test]
fn dtstart_is_an_occurrence_only_if_the_rule_names_it() {
    let rule = "FREQ=WEEKLY;BYDAY=TU;COUNT=2";
    assert_eq!(days(rule, "2026-01-05T09:00:00", 9), ["2026-01-06", "2026-01-13"]);
    assert_eq!(days(rule, "2026-01-06T09:00:00", 9), ["2026-01-06", "2026-01-13"]);
}

/// Where the crate (and python-dateutil) don't follow RFC 5545.
#[test]
fn weeks_are_counted_as_the_rfc_counts_them() {
    // Weeks from Thursday: 2002 begins within the 52nd week of 2001, which has no 53rd.
    let rule = Rule::parse("FREQ=YEARLY;BYYEARDAY=1;BYWEEKNO=53;WKST=TH").unwrap();
    let found = rule.occurrences(civil("2001-06-01T09:00:00"), "UTC", None, 1, far()).unwrap();
    assert_ne!(found[0].civil.date(), civil::date(2002, 1, 1));
    // BYSETPOS counts in the whole week, also in the one with DTSTART (a Wednesday).
    let rule = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1,3";
    assert_eq!(days(rule, "2024-10-23T09:00:00", 3), ["2024-10-23", "2024-10-28", "2024-10-30"]);
    // A list of days with and without numbers is a list.
    let rule = "FREQ=MONTHLY;BYDAY=MO,1TU";
    assert_eq!(days(rule, "2026-01-05T09:00:00", 5)[..2], ["2026-01-05", "2026-01-06"]);
}

#[test]
fn looking_far_ahead_costs_no_more() {
    let after: Instant = "9000-01-01T00:00:00Z".parse().unwrap();
    for (rule, expected) in [
        ("FREQ=SECONDLY;INTERVAL=90061", 3),
        ("FREQ=MINUTELY;BYHOUR=9;INTERVAL=7", 3),
        ("FREQ=DAILY;INTERVAL=3", 3),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU", 3),
        ("FREQ=MONTHLY;INTERVAL=5;BYDAY=-1FR", 3),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", 3),
    ] {
        let rule = Rule::parse(rule).unwrap();
        let dated = rule.dated(naive(civil("1997-08-10T09:00:00")).unwrap(), false).unwrap();
        let mut steps = Steps::new(2_000);
        let begin = naive(zones::to_civil(after, &TimeZone::UTC)).unwrap();
        let mut found = Vec::new();
        let ended = dated.expand(None, begin..NaiveDateTime::MAX, &mut steps, |at| {
            found.push(at);
            found.len() < expected
        });
        assert_eq!((ended, found.len()), (Ok(()), expected), "{rule:?}");
        assert!(found[0] >= begin);
    }
}

#[test]
fn hostile_rules_end() {
    let until = "2027-01-01T00:00:00Z".parse().unwrap();
    let expand = |rule: &str, limit| {
        let rule = Rule::parse(rule).unwrap();
        rule.occurrences(civil("2026-01-01T00:00:00"), "UTC", None, limit, until).map(|found| found.len())
    };
    assert_eq!(expand("FREQ=SECONDLY", 10), Ok(10));
    assert_eq!(expand("FREQ=SECONDLY", usize::MAX), Err(RuleError::TooMuchWork));
    assert_eq!(expand("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", 10), Ok(0));
    assert_eq!(expand("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", 10), Ok(0));
    assert_eq!(expand("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", 10), Ok(0));
    assert_eq!(expand("FREQ=SECONDLY;INTERVAL=60;BYSECOND=5", 10), Err(RuleError::TooRare));
    assert_eq!(expand("FREQ=YEARLY;INTERVAL=4294967295", 10), Ok(1));
    assert_eq!(expand("FREQ=SECONDLY;INTERVAL=4294967295;COUNT=4294967295", 10), Ok(1));
    assert_eq!(expand("FREQ=MONTHLY;BYDAY=1TU;BYSETPOS=2", 10), Ok(0));
    let all: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let flood = format!("FREQ=YEARLY;BYDAY=MO,TU;BYMINUTE={0};BYSECOND={0};BYSETPOS=-1", all.join(","));
    assert_eq!(expand(&flood, 10), Ok(1));
    let late = Rule::parse("FREQ=YEARLY").unwrap();
    let found = late.occurrences(civil("9998-06-01T00:00:00"), "UTC", None, 10, Instant::MAX_UTC).unwrap();
    assert_eq!(found.len(), 2);
    assert!(matches!(
        late.occurrences(civil::date(-1, 6, 1).at(0, 0, 0, 0), "UTC", None, 10, until),
        Err(RuleError::Start(-1))
    ));
    assert!(matches!(
        late.occurrences(civil("2026-06-01T00:00:00"), "Mars", None, 1, until),
        Err(RuleError::Zone(_))
    ));
}

/// A rule of those that the crate can expand.
fn random_rule(random: &mut Random) -> String {
    let mut rule = format!("FREQ={}", ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"][random.below(4) as usize]);
    let frequency = rule.clone();
    let mut list = |name: &str, all: &[&str], random: &mut Random| {
        if random.below(3) == 0 {
            let some: Vec<&str> =
                (0..=random.below(3)).map(|_| all[random.below(all.len() as u64) as usize]).collect();
            rule.push_str(&format!(";{name}={}", some.join(",")));
        }
    };
    list("BYMONTH", &["1", "2", "6", "12"], random);
    match frequency.as_str() {
        "FREQ=YEARLY" => {
            list("BYYEARDAY", &["1", "60", "200", "366", "-1", "-60"], random);
            list("BYDAY", &["MO", "WE", "SU"], random);
            list("BYMONTHDAY", &["1", "13", "29", "31", "-1", "-30"], random);
        }
        "FREQ=MONTHLY" => {
            list("BYDAY", &["1MO", "-1FR", "3WE", "4SU", "-4TU"], random);
            list("BYMONTHDAY", &["1", "13", "29", "31", "-1", "-30"], random);
        }
        "FREQ=DAILY" => list("BYMONTHDAY", &["1", "13", "29", "31", "-1", "-30"], random),
        _ => list("BYDAY", &["MO", "WE", "SU", "SA"], random),
    }
    list("BYHOUR", &["0", "9", "23"], random);
    list("BYMINUTE", &["0", "30"], random);
    rule.push_str(["", ";WKST=SU", ";WKST=TH"][random.below(3) as usize]);
    if rule.contains(";BY") && random.below(3) == 0 {
        rule.push_str([";BYSETPOS=1", ";BYSETPOS=-1", ";BYSETPOS=2,-2"][random.below(3) as usize]);
    }
    if random.below(2) == 0 {
        rule.push_str(&format!(";INTERVAL={}", 1 + random.below(5)));
    }
    rule
}

/// A COUNT that was counted out is the same rule.
#[test]
fn a_count_may_be_an_end() {
    let mut random = Random::new(5_545);
    for _ in 0..200 {
        let text = format!("{};COUNT={}", random_rule(&mut random), 1 + random.below(40));
        let start = NaiveDate::from_ymd_opt(2003, 5, 28).unwrap().and_hms_opt(9, 30, 0).unwrap();
        let counted = Rule::parse_leniently(&text).unwrap().dated(start, false).unwrap();
        let list = |dated: &Dated, from: NaiveDateTime| {
            let (mut found, mut steps) = (Vec::new(), Steps::new(50_000));
            let ended = dated.expand(dated.until_in(|utc| utc), from..NaiveDateTime::MAX, &mut steps, |at| {
                found.push(at);
                true
            });
            assert_eq!(ended, Ok(()), "{text}");
            found
        };
        let all = list(&counted, start);
        let Some(last) = all.last() else { continue };
        let ending = counted.clone().ending_at(*last);
        let from = all[all.len() / 2];
        assert!(!ending.is_counted());
        assert_eq!(
            (list(&ending, start), list(&ending, from)),
            (all.clone(), list(&counted, from)),
            "{text}"
        );
    }
}

/// The two ways to expand a rule agree, from the start and from somewhere later.
#[test]
fn the_crate_and_the_periods_agree() {
    let mut random = Random::new(7_529);
    let (mut compared, mut wrong) = (0, Vec::new());
    for _ in 0..1_200 {
        let mut text = random_rule(&mut random);
        if random.below(4) == 0 {
            text.push_str(&format!(";COUNT={}", 1 + random.below(60)));
        }
        let day = NaiveDate::from_ymd_opt(1995, 1, 1).unwrap() + TimeDelta::days(random.below(4_000) as i64);
        let start = day.and_hms_opt(9, 30, 0).unwrap();
        let Ok(rule) = Rule::parse_leniently(&text) else { panic!("{text}") };
        let Ok(dated) = rule.dated(start, false) else { panic!("{text}") };
        let Some([by_crate, by_periods]) = dated.both_ways(&rule.parts) else { continue };
        let later = start + TimeDelta::days(random.below(6_000) as i64);
        let window = TimeDelta::days(random.below(60) as i64);
        let long = TimeDelta::days(3_000);
        for range in [start..start + long, later..later + long, later..later + window] {
            compared += 1;
            let list = |dated: &Dated| {
                let (mut found, mut steps) = (Vec::new(), Steps::new(20_000));
                let ended = dated.expand(None, range.clone(), &mut steps, |at| {
                    found.push(at);
                    found.len() < 60
                });
                assert_eq!(ended, Ok(()), "{text}");
                found
            };
            let (one, two) = (list(&by_crate), list(&by_periods));
            if one != two {
                let at = one.iter().zip(&two).take_while(|(a, b)| a == b).count();
                let (one, two) = (one.get(at), two.get(at));
                wrong.push(format!("{text} from {start}, in {range:?}: {one:?}, periods {two:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 2_000, "only {compared} compared");
}
