//! `BatchScheduleMeetings`.

use super::support::*;
use pb::meeting::State;

async fn batch(world: &World, asks: Vec<Ask>) -> Vec<pb::BatchOutcome> {
    let requests = asks.into_iter().map(|ask| ask.0).collect();
    let mut client = world.client.clone();
    let request = pb::BatchScheduleMeetingsRequest { requests };
    within("the batch", client.batch_schedule_meetings(request)).await.unwrap().into_inner().outcomes
}

#[tokio::test]
async fn by_priority_then_in_the_order_given() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 11), Person::new("bob").free(8, 17)]).await;
    let asks = vec![
        ask(&["alice", "bob"]).title("third"),
        ask(&["alice"]).title("first").priority(9),
        ask(&["alice"]).title("fourth"),
        ask(&["alice", "bob"]).title("second").priority(5),
    ];
    let outcomes = batch(&world, asks).await;
    assert!(outcomes.iter().all(|o| o.error.is_none()));
    let meetings: Vec<_> = outcomes.into_iter().map(|o| o.meeting.unwrap()).collect();
    let titles: Vec<_> = meetings.iter().map(|m| m.spec.as_ref().unwrap().title.as_str()).collect();
    assert_eq!(titles, ["third", "first", "fourth", "second"], "outcomes stand in the order given");
    assert_eq!(slot_of(&meetings[1]), (8, 9));
    assert_eq!(slot_of(&meetings[3]), (9, 10));
    assert_eq!(slot_of(&meetings[0]), (10, 11));
    assert_eq!(meetings[2].state(), State::Failed, "alice has no fourth hour");
    host.check();
}

#[tokio::test]
async fn a_bad_request_does_not_touch_the_others() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let bad = ask(&["alice", "alice"]).spec(|s| (s.duration, s.priority) = (None, -3));
    let reused = uuid::Uuid::new_v4().to_string();
    let outcomes = batch(
        &world,
        vec![
            ask(&["alice"]).request_id(&reused),
            bad,
            ask(&["alice"]).title("Another").request_id(&reused),
            ask(&["alice"]),
        ],
    )
    .await;
    assert_eq!(outcomes[0].meeting.as_ref().map(slot_of), Some((8, 9)));
    let error = outcomes[1].error.as_ref().unwrap();
    assert_eq!((error.code, error.reason.as_str()), (3, "INVALID_REQUEST"));
    let mut fields: Vec<_> = error.field_violations.iter().map(|v| v.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["spec.attendees[1].participant_id", "spec.duration", "spec.priority"]);
    assert_eq!(outcomes[2].error.as_ref().unwrap().code, tonic::Code::AlreadyExists as i32);
    assert_eq!(outcomes[3].meeting.as_ref().map(slot_of), Some((9, 10)));
}

#[tokio::test]
async fn meetings_that_share_nobody_go_side_by_side() {
    let world = World::start().await;
    let slow = Person::new("alice").free(8, 17).with(|p| p.answers = Mode::Keep);
    let host = world.host(vec![slow, Person::new("bob").free(8, 17)]).await;
    let mut events = world.watch(None).await;
    let requests = vec![ask(&["alice"]).0, ask(&["bob"]).0];
    let mut client = world.client.clone();
    let all = tokio::spawn(async move {
        client.batch_schedule_meetings(pb::BatchScheduleMeetingsRequest { requests }).await
    });
    // Bob's is decided while alice's waits for her.
    let first = events.until(pb::meeting_event::Type::Confirmed).await.meeting.unwrap();
    assert_eq!(attending(&first), ["bob"]);
    host.until_kept("alice").await;
    host.let_go("alice").await;
    let outcomes = within("the batch", all).await.unwrap().unwrap().into_inner().outcomes;
    assert!(outcomes.iter().all(|o| o.meeting.as_ref().unwrap().state() == State::Confirmed));
}

#[tokio::test]
async fn sizes_of_a_batch() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    for size in [0, 1_001] {
        let requests = vec![ask(&["alice"]).0; size];
        let mut client = world.client.clone();
        let request = pb::BatchScheduleMeetingsRequest { requests };
        let status = within("an answer", client.batch_schedule_meetings(request)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{size}");
    }
    let outcomes = batch(&world, vec![ask(&["alice"]); 200]).await;
    let booked = outcomes.iter().filter(|o| o.meeting.as_ref().unwrap().state() == State::Confirmed).count();
    assert_eq!((outcomes.len(), booked), (200, 9));
}
