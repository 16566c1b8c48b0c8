//! Recurring meetings over the wire: booked whole or as the policy says, read back, called off, and written by the
//! shipped agent as one recurring event.

use tonic_types::StatusExt;

use super::support::*;
use pb::occurrence::Outcome;
use pb::series::State;

const HOUR: i64 = 3_600;
const WEEK: i64 = 7 * 24 * HOUR;
/// Tuesday 2034-03-21, 09:00 in Berlin: the clocks go forward on the Sunday after.
const TUESDAY: i64 = 2_026_540_800;

/// The Tuesdays at 09:00 in Berlin, from that one on.
fn tuesday(n: i64) -> (i64, i64) {
    let summer = if n > 0 { HOUR } else { 0 };
    (TUESDAY + n * WEEK - summer, TUESDAY + n * WEEK - summer + HOUR)
}

fn weekly(people: &[&str]) -> pb::ScheduleSeriesRequest {
    let (from, until) = tuesday(0);
    let spec = ask(people).window(|window| window.time_zone = "Europe/Berlin".into()).0.spec;
    pb::ScheduleSeriesRequest {
        spec,
        first_slot: Some(seconds(from, until)),
        rrule: "FREQ=WEEKLY;BYDAY=TU;COUNT=3".into(),
        ..Default::default()
    }
}

async fn schedule(world: &World, request: pb::ScheduleSeriesRequest) -> Result<pb::Series, tonic::Status> {
    let mut client = world.client.clone();
    let answer = within("a decision", client.schedule_series(request)).await?;
    Ok(answer.into_inner().series.expect("a series"))
}

async fn get(world: &World, id: &str) -> Result<pb::Series, tonic::Status> {
    let request = pb::GetSeriesRequest { series_id: id.into() };
    let answer = within("a series", world.client.clone().get_series(request)).await?;
    Ok(answer.into_inner().series.expect("a series"))
}

async fn cancel(world: &World, request: pb::CancelSeriesRequest) -> Result<pb::Series, tonic::Status> {
    let answer = within("a decision", world.client.clone().cancel_series(request)).await?;
    Ok(answer.into_inner().series.expect("a series"))
}

fn outcomes(series: &pb::Series) -> Vec<Outcome> {
    series.occurrences.iter().map(pb::Occurrence::outcome).collect()
}

fn slots(series: &pb::Series) -> Vec<(i64, i64)> {
    series.occurrences.iter().map(|o| in_seconds(o.slot.as_ref().unwrap())).collect()
}

/// Free at these times only.
fn free_at(name: &str, slots: &[(i64, i64)]) -> Person {
    let free = |range: &(i64, i64)| Free { range: *range, preference: pb::Preference::Available, cost: 0 };
    Person::new(name).with(|person| person.free = slots.iter().map(free).collect())
}

#[tokio::test]
async fn nine_o_clock_stays_nine_o_clock_over_a_change_of_clocks() {
    let world = World::start().await;
    let all: Vec<_> = (0..3).map(tuesday).collect();
    let host = world.host(vec![free_at("alice", &all), free_at("bob", &all)]).await;
    let series = schedule(&world, weekly(&["alice", "bob"])).await.unwrap();
    assert_eq!((series.state(), outcomes(&series)), (State::Confirmed, vec![Outcome::Booked; 3]));
    assert_eq!(slots(&series), all.clone());
    let local: Vec<&str> = series.occurrences.iter().map(|o| o.local_time.as_str()).collect();
    assert_eq!(local, ["2034-03-21T09:00:00", "2034-03-28T09:00:00", "2034-04-04T09:00:00"]);
    assert_eq!(
        (series.time_zone.as_str(), series.rrule.as_str()),
        ("Europe/Berlin", "FREQ=WEEKLY;BYDAY=TU;COUNT=3")
    );
    host.until("all confirms", |s| (s.people["bob"].booked.len() == 3).then_some(())).await;
    let booked = host.look(|s| s.people["bob"].booked.values().cloned().collect::<Vec<_>>());
    for booking in booked {
        let recurrence = booking.recurrence.expect("it says of which series it is");
        assert_eq!(recurrence.series_id, series.series_id);
        assert_eq!(
            (recurrence.start_local.as_str(), recurrence.time_zone.as_str()),
            (local[0], "Europe/Berlin")
        );
    }
    // Each is a meeting like any other.
    let meeting = super::support::get(&world.client, &series.occurrences[1].meeting_id).await;
    assert_eq!((meeting.state(), &meeting.series_id), (pb::meeting::State::Confirmed, &series.series_id));
    let read = get(&world, &series.series_id).await.unwrap();
    assert_eq!((&read.etag, outcomes(&read), slots(&read)), (&series.etag, outcomes(&series), all));
    host.check();
}

#[tokio::test]
async fn all_or_nothing_and_why() {
    let world = World::start().await;
    let all: Vec<_> = (0..3).map(tuesday).collect();
    let host = world.host(vec![free_at("alice", &all), free_at("bob", &all[..2])]).await;
    let series = schedule(&world, weekly(&["alice", "bob"])).await.unwrap();
    assert_eq!((series.state(), outcomes(&series)), (State::Failed, vec![Outcome::Skipped; 3]));
    assert_eq!(series.occurrences[2].reason, "bob: not free");
    let failure = series.failure.clone().unwrap();
    assert_eq!(failure.reason(), pb::failure::Reason::NoCommonSlot);
    assert!(failure.message.contains("2034-04-04 09:00 (bob: not free)"), "{}", failure.message);
    assert!(failure.message.contains("SKIP would book the other 2"), "{}", failure.message);
    assert!(world.list(pb::ListMeetingsRequest::default()).await.meetings.is_empty());
    // The other policy books the rest, and says what it left out.
    let policy = pb::ConflictPolicy::Skip.into();
    let series =
        schedule(&world, pb::ScheduleSeriesRequest { conflict_policy: policy, ..weekly(&["alice", "bob"]) })
            .await
            .unwrap();
    assert_eq!(outcomes(&series), [Outcome::Booked, Outcome::Booked, Outcome::Skipped]);
    assert!(series.occurrences[2].reason.contains("bob"), "{}", series.occurrences[2].reason);
    host.check();
}

#[tokio::test]
async fn a_time_is_found_that_suits_every_week() {
    let world = World::start().await;
    let (nine, ten) = (tuesday(0), (tuesday(0).0 + HOUR, tuesday(0).1 + HOUR));
    let later = |n: i64| (tuesday(n).0 + HOUR, tuesday(n).1 + HOUR);
    let host = world.host(vec![free_at("alice", &[nine, ten, later(1), later(2)])]).await;
    let mut request = pb::ScheduleSeriesRequest { first_slot: None, ..weekly(&["alice"]) };
    let window = request.spec.as_mut().unwrap().window.as_mut().unwrap();
    (window.earliest, window.latest) = (Some(instant(nine.0)), Some(instant(nine.0 + 8 * HOUR)));
    let series = schedule(&world, request).await.unwrap();
    assert_eq!(slots(&series), [ten, later(1), later(2)]);
    host.check();
}

#[tokio::test]
async fn what_it_would_be_without_asking_anybody() {
    let world = World::start().await;
    let request = pb::ScheduleSeriesRequest {
        validate_only: true,
        rrule: String::new(),
        frequency: pb::schedule_series_request::Frequency::Daily.into(),
        end_date: "2034-03-27".into(),
        exclude_dates: vec!["2034-03-25".into()],
        ..weekly(&["nobody"])
    };
    let series = schedule(&world, request).await.unwrap();
    assert_eq!(
        (series.state(), series.series_id.as_str(), series.occurrences.len()),
        (State::Unspecified, "", 7)
    );
    assert_eq!(series.occurrences[4].outcome(), Outcome::Excluded);
    assert_eq!(series.rrule, "FREQ=DAILY;UNTIL=20340327T215959Z", "to the end of that day in Berlin");
    assert!(!series.open_ended);
}

#[tokio::test]
async fn the_rest_is_called_off_and_a_restart_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_in(folder.path()).await;
    let all: Vec<_> = (0..3).map(tuesday).collect();
    let mut host = world.host(vec![free_at("alice", &all)]).await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let request = pb::ScheduleSeriesRequest { request_id, ..weekly(&["alice"]) };
    let series = schedule(&world, request.clone()).await.unwrap();
    world.scheduler.stop().await.unwrap();
    host.ended().await.unwrap_err();
    let world = World::start_in(folder.path()).await;
    host.connect(&world.url()).await;
    assert_eq!(schedule(&world, request.clone()).await.unwrap().series_id, series.series_id);
    let other = pb::ScheduleSeriesRequest { rrule: "FREQ=DAILY;COUNT=2".into(), ..request };
    assert_eq!(schedule(&world, other).await.unwrap_err().code(), tonic::Code::AlreadyExists);
    let of = |from, etag: &str| pb::CancelSeriesRequest {
        series_id: series.series_id.clone(),
        from,
        etag: etag.into(),
    };
    let stale = cancel(&world, of(None, "\"0\"")).await.unwrap_err();
    assert_eq!(stale.code(), tonic::Code::Aborted, "{stale}");
    let cut = cancel(&world, of(Some(instant(tuesday(1).0)), &series.etag)).await.unwrap();
    assert_eq!(outcomes(&cut), [Outcome::Booked, Outcome::Cancelled, Outcome::Cancelled]);
    assert_eq!(
        (cut.state(), cut.rrule.as_str()),
        (State::Confirmed, "FREQ=WEEKLY;BYDAY=TU;UNTIL=20340328T065959Z")
    );
    host.until("the rest is released", |s| (s.people["alice"].booked.len() == 1).then_some(())).await;
    let gone = cancel(&world, of(None, "")).await.unwrap();
    assert_eq!((gone.state(), outcomes(&gone)), (State::Cancelled, vec![Outcome::Cancelled; 3]));
    assert_eq!(cancel(&world, of(None, "")).await.unwrap(), gone, "asked again");
    host.check();
}

#[tokio::test]
async fn bad_series_are_refused_with_every_bad_field() {
    let world = World::start().await;
    let fields = |status: tonic::Status| {
        let details = status.get_error_details();
        let violations = details.bad_request().expect("BadRequest").field_violations.clone();
        let mut found: Vec<_> = violations.into_iter().map(|v| v.field).collect();
        found.sort_unstable();
        found
    };
    let bad = pb::ScheduleSeriesRequest {
        request_id: "no uuid".into(),
        rrule: "FREQ=HOURLY".into(),
        end_date: "2034-13-01".into(),
        exclude_dates: vec!["tomorrow".into()],
        conflict_policy: pb::ConflictPolicy::MoveWithin.into(),
        max_attempts: -1,
        ..weekly(&["alice"])
    };
    let wanted = ["end_date", "exclude_dates[0]", "max_attempts", "move_tolerance", "request_id", "rrule"];
    assert_eq!(fields(schedule(&world, bad).await.unwrap_err()), wanted);
    let change = |change: &dyn Fn(&mut pb::ScheduleSeriesRequest)| {
        let mut request = weekly(&["alice"]);
        change(&mut request);
        request
    };
    for (request, field) in [
        (change(&|r| r.rrule.clear()), "rrule"),
        (change(&|r| r.rrule = "FREQ=SOMETIMES".into()), "rrule"),
        (change(&|r| r.rrule = "FREQ=WEEKLY;BYDAY=MO".into()), "first_slot"),
        (change(&|r| r.rrule = "FREQ=DAILY;COUNT=1000".into()), "rrule"),
        (change(&|r| r.spec.as_mut().unwrap().buffer_after = Some(minutes(24 * 60))), ""),
    ] {
        match (schedule(&world, request).await, field) {
            (Err(status), field) => assert_eq!(fields(status), [field]),
            (Ok(series), "") => assert_eq!(series.state(), State::Failed),
            (Ok(series), field) => panic!("{field}: {series:?}"),
        }
    }
    let unknown = uuid::Uuid::new_v4().to_string();
    assert_eq!(get(&world, &unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    let request = pb::CancelSeriesRequest { series_id: unknown, ..Default::default() };
    assert_eq!(cancel(&world, request).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_writes_a_series_as_one_event() {
    let world = World::start().await;
    let work = tempfile::tempdir().unwrap();
    let calendars = work.path().join("calendars");
    std::fs::create_dir(&calendars).unwrap();
    // Alice is away on the second Tuesday.
    let (from, until) = tuesday(1);
    let utc = |at: i64| jiff::Timestamp::from_second(at).unwrap().strftime("%Y%m%dT%H%M%SZ").to_string();
    let away = format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:away\r\nDTSTART:{}\r\nDTEND:{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        utc(from),
        utc(until)
    );
    std::fs::write(calendars.join("alice.ics"), away).unwrap();
    let agent = Agent::of_folder(&calendars, &world.url()).await;
    let request = pb::ScheduleSeriesRequest {
        conflict_policy: pb::ConflictPolicy::MoveWithin.into(),
        move_tolerance: Some(minutes(120)),
        ..weekly(&["alice"])
    };
    let series = schedule(&world, request).await.unwrap();
    assert_eq!(outcomes(&series), [Outcome::Booked, Outcome::Moved, Outcome::Booked], "{series:?}");
    let mut events = world.watch(Some(0)).await;
    for _ in 0..3 {
        events.until(pb::meeting_event::Type::Delivered).await;
    }
    within("the outputs are written", agent.handle.outputs_written()).await.expect("the outputs");
    let path = calendars.join("alice.quorate.ics");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("BEGIN:VEVENT").count(), 2, "the rule and one exception: {text}");
    assert!(text.contains("RRULE:FREQ=WEEKLY;BYDAY=TU;UNTIL=20340404T070000Z\r\n"), "{text}");
    assert!(text.contains("RECURRENCE-ID;TZID=Europe/Berlin:20340328T090000\r\n"), "{text}");
}

#[tokio::test]
async fn each_attendee_of_an_occurrence_has_their_zone() {
    let world = World::start().await;
    let all: Vec<_> = (0..3).map(tuesday).collect();
    let at_home = |name: &str, zone: &str, slots: &[(i64, i64)]| {
        free_at(name, slots).with(|person| person.zone = zone.into())
    };
    let alice = at_home("alice", "Europe/Berlin", &all);
    let bob = at_home("bob", "America/New_York", &all[..2]);
    let host = world.host(vec![alice, bob]).await;
    let zones = |series: &pb::Series| -> Vec<Vec<String>> {
        let of = |o: &pb::Occurrence| o.attendees.iter().map(|a| a.time_zone.clone()).collect();
        series.occurrences.iter().map(of).collect()
    };
    let both = ["Europe/Berlin", "America/New_York"];
    // Of one that failed, of one that stands, and when it is read again.
    let failed = schedule(&world, weekly(&["alice", "bob"])).await.unwrap();
    assert_eq!((failed.state(), zones(&failed)), (State::Failed, vec![both.map(String::from).to_vec(); 3]));
    let of_failure = |series: &pb::Series| -> Vec<String> {
        series.failure.iter().flat_map(|why| &why.attendees).map(|a| a.time_zone.clone()).collect()
    };
    assert_eq!(of_failure(&failed), both);
    let conflict_policy = pb::ConflictPolicy::Skip.into();
    let booked = schedule(&world, pb::ScheduleSeriesRequest { conflict_policy, ..weekly(&["alice", "bob"]) })
        .await
        .unwrap();
    assert_eq!(zones(&booked), vec![both.map(String::from).to_vec(); 3]);
    assert_eq!(zones(&get(&world, &booked.series_id).await.unwrap()), zones(&booked));
    host.check();
}

#[tokio::test]
async fn errors_about_a_series_name_it() {
    let world = World::start().await;
    let all: Vec<_> = (0..3).map(tuesday).collect();
    let host = world.host(vec![free_at("alice", &all)]).await;
    let series = schedule(&world, weekly(&["alice"])).await.unwrap();
    let id = || series.series_id.clone();
    cancel(&world, pb::CancelSeriesRequest { series_id: id(), ..Default::default() }).await.unwrap();
    let (from, until) = tuesday(1);
    let request = pb::RescheduleSeriesRequest {
        series_id: id(),
        slot: Some(seconds(from, until)),
        ..Default::default()
    };
    let refused = within("an answer", world.client.clone().reschedule_series(request)).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::FailedPrecondition, "the series is CANCELLED, not CONFIRMED")
    );
    assert_eq!(
        refused.get_error_details().error_info().map(|info| info.reason.as_str()),
        Some("SERIES_NOT_CONFIRMED")
    );
    let failed = schedule(&world, weekly(&["nobody"])).await.unwrap();
    let request = pb::CancelSeriesRequest { series_id: failed.series_id, ..Default::default() };
    let refused = cancel(&world, request).await.unwrap_err();
    assert_eq!(refused.message(), "the series FAILED: there is nothing to cancel");
    host.check();
}

#[tokio::test]
async fn series_are_listed_page_by_page_by_whom_they_are_for_and_as_they_stand() {
    let world = World::start().await;
    let all: Vec<_> = (0..3).map(tuesday).collect();
    let host = world.host(vec![free_at("alice", &all)]).await;
    let booked = schedule(&world, weekly(&["alice"])).await.unwrap();
    let mut failed = Vec::new();
    for people in [["alice", "bob"], ["carol", "bob"]] {
        failed.push(schedule(&world, weekly(&people)).await.unwrap().series_id);
    }
    let client = &world.client;
    let list = async |request: pb::ListSeriesRequest| {
        within("a list", client.clone().list_series(request)).await.map(tonic::Response::into_inner)
    };
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort();
        ids
    };
    let ids = |page: &pb::ListSeriesResponse| -> Vec<String> {
        page.series.iter().map(|series| series.series_id.clone()).collect()
    };
    let mut request = pb::ListSeriesRequest { page_size: 2, ..Default::default() };
    let first = list(request.clone()).await.unwrap();
    request.page_token.clone_from(&first.next_page_token);
    let second = list(request.clone()).await.unwrap();
    assert_eq!((first.series.len(), second.series.len(), second.next_page_token.as_str()), (2, 1, ""));
    assert_eq!([ids(&first), ids(&second)].concat(), sorted(&[&booked.series_id, &failed[0], &failed[1]]));
    let of = |participant: &str, states: &[State]| pb::ListSeriesRequest {
        participant_id: participant.into(),
        states: states.iter().map(|state| *state as i32).collect(),
        ..Default::default()
    };
    let alices = list(of("alice", &[])).await.unwrap();
    assert_eq!(ids(&alices), sorted(&[&booked.series_id, &failed[0]]));
    let confirmed = list(of("alice", &[State::Confirmed])).await.unwrap();
    assert_eq!(ids(&confirmed), std::slice::from_ref(&booked.series_id));
    // As GetSeries has it, but for the occurrences.
    let whole = get(&world, &booked.series_id).await.unwrap();
    assert_eq!(confirmed.series, [pb::Series { occurrences: Vec::new(), ..whole }]);
    assert!(list(of("dave", &[])).await.unwrap().series.is_empty());
    assert!(list(of("", &[State::Cancelled, State::Scheduling])).await.unwrap().series.is_empty());
    // A token is of one list; and every bad field is named.
    let bad = pb::ListSeriesRequest {
        page_size: -1,
        page_token: first.next_page_token,
        participant_id: "alice".into(),
        states: vec![77, 0],
    };
    let fields = |status: tonic::Status| {
        let details = status.get_error_details();
        let violations = details.bad_request().expect("BadRequest").field_violations.clone();
        violations.into_iter().map(|v| v.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(list(bad.clone()).await.unwrap_err()), ["states[0]", "states[1]", "page_size"]);
    let foreign = pb::ListSeriesRequest { states: Vec::new(), page_size: 0, ..bad };
    assert_eq!(fields(list(foreign).await.unwrap_err()), ["page_token"]);
    host.check();
}
