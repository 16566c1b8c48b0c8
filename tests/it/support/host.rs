//! A scripted agent host: one stream, many people, and everything heard on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::pb::scheduler_message::Message as Hears;
use super::person::{Person, says};
use super::{pb, within};
use pb::participant_service_client::ParticipantServiceClient;

/// What a host knows.
#[derive(Default)]
pub struct State {
    pub people: BTreeMap<String, Person>,
    /// Everything heard, in order.
    pub heard: Vec<Hears>,
    /// How many frames came.
    pub frames: usize,
    /// How the present stream ended: `Ok` without a status, `Err` with one.
    pub end: Option<Result<(), tonic::Status>>,
}

impl State {
    pub fn person(&self, id: &str) -> &Person {
        &self.people[id]
    }

    pub fn errors(&self) -> Vec<&pb::FrameError> {
        let heard = self.heard.iter();
        heard
            .filter_map(|m| match m {
                Hears::FrameError(error) => Some(error),
                _ => None,
            })
            .collect()
    }

    pub fn queries(&self) -> Vec<&pb::AvailabilityQuery> {
        let heard = self.heard.iter();
        heard
            .filter_map(|m| match m {
                Hears::AvailabilityQuery(query) => Some(query),
                _ => None,
            })
            .collect()
    }

    pub fn holds_of(&self, id: &str) -> Vec<&pb::Hold> {
        let heard = self.heard.iter();
        heard
            .filter_map(|m| match m {
                Hears::Hold(hold) if hold.participant_ids.iter().any(|p| p == id) => Some(hold),
                _ => None,
            })
            .collect()
    }

    pub fn confirms_of(&self, id: &str) -> Vec<&pb::Confirm> {
        let heard = self.heard.iter();
        heard
            .filter_map(|m| match m {
                Hears::Confirm(confirm) if confirm.participant_ids.iter().any(|p| p == id) => Some(confirm),
                _ => None,
            })
            .collect()
    }

    pub fn releases_of(&self, id: &str) -> Vec<&pb::Release> {
        let heard = self.heard.iter();
        heard
            .filter_map(|m| match m {
                Hears::Release(release) if release.participant_ids.iter().any(|p| p == id) => Some(release),
                _ => None,
            })
            .collect()
    }

    pub fn notices_of(&self, id: &str) -> Vec<&pb::Notice> {
        let heard = self.heard.iter();
        heard
            .filter_map(|m| match m {
                Hears::Notice(notice) if notice.participant_ids.iter().any(|p| p == id) => Some(notice),
                _ => None,
            })
            .collect()
    }

    /// Whether anybody but those of this host was named to it.
    pub fn strangers(&self) -> Vec<String> {
        let named = |m: &Hears| match m {
            Hears::AvailabilityQuery(m) => m.participant_ids.clone(),
            Hears::Hold(m) => m.participant_ids.clone(),
            Hears::Confirm(m) => m.participant_ids.clone(),
            Hears::Release(m) => m.participant_ids.clone(),
            Hears::Notice(m) => m.participant_ids.clone(),
            Hears::Registered(m) => vec![m.participant_id.clone()],
            Hears::Superseded(m) => vec![m.participant_id.clone()],
            Hears::Drain(_) | Hears::FrameError(_) => Vec::new(),
        };
        let all = self.heard.iter().flat_map(named);
        all.filter(|id| !self.people.contains_key(id)).collect()
    }

    fn hear(&mut self, message: Hears) -> Vec<pb::AgentMessage> {
        let mut says = Vec::new();
        let people = &mut self.people;
        let mut each = |ids: &[String], act: &mut dyn FnMut(&mut Person) -> Vec<pb::AgentMessage>| {
            for id in ids {
                if let Some(person) = people.get_mut(id) {
                    says.extend(act(person));
                }
            }
        };
        match &message {
            Hears::Registered(m) => {
                each(std::slice::from_ref(&m.participant_id), &mut |p| p.registered(m.clone()));
            }
            Hears::AvailabilityQuery(m) => each(&m.participant_ids, &mut |p| p.query(m)),
            Hears::Hold(m) => each(&m.participant_ids, &mut |p| p.hold(m)),
            Hears::Confirm(m) => {
                each(&m.participant_ids, &mut |p| p.confirm(m.booking.clone().unwrap(), &m.displaces));
            }
            Hears::Release(m) => each(&m.participant_ids, &mut |p| p.release(&m.meeting_id, m.attempt)),
            Hears::Notice(_) | Hears::Superseded(_) | Hears::Drain(_) | Hears::FrameError(_) => {}
        }
        self.heard.push(message);
        says
    }
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        changed
    }
}

struct Link {
    out: mpsc::Sender<pb::JoinRequest>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A host; its stream is cut when it is dropped.
pub struct Host {
    shared: Arc<Shared>,
    link: Option<Link>,
}

impl Host {
    /// A host that is not connected.
    pub fn new(people: Vec<Person>) -> Self {
        let people = people.into_iter().map(|person| (person.id.clone(), person)).collect();
        let state = Mutex::new(State { people, ..State::default() });
        Self { shared: Arc::new(Shared { state, changed: watch::Sender::new(0) }), link: None }
    }

    /// Connects, registers everyone, and waits until all are.
    pub async fn connect(&mut self, url: &str) {
        let people: Vec<_> = self.shared.change(|state| {
            state.people.values_mut().for_each(|person| person.registered = person.registered.take());
            state.people.values_mut().map(Person::register).collect()
        });
        self.open(url, people).await;
        let all = |state: &State| state.people.values().all(|p| p.registered.is_some()).then_some(());
        self.until("everyone is registered", all).await;
    }

    /// Connects, with these messages as the first frame.
    pub async fn open(&mut self, url: &str, first: Vec<pb::AgentMessage>) {
        self.link = None;
        self.shared.change(|state| state.end = None);
        let (out, frames) = mpsc::channel(1_024);
        for frame in quorate::wire::frames::agent_frames(first) {
            out.send(frame).await.unwrap();
        }
        let connected = ParticipantServiceClient::connect(url.to_owned());
        let mut client = within("a connection", connected).await.unwrap();
        let shared = self.shared.clone();
        let says = out.clone();
        let task = tokio::spawn(async move {
            let end = match client.join(ReceiverStream::new(frames)).await {
                Ok(stream) => listen(&shared, stream.into_inner(), &says).await,
                Err(status) => Err(status),
            };
            shared.change(|state| state.end = Some(end));
        });
        self.link = Some(Link { out, task });
    }

    /// Cuts the stream, as a process that was killed does.
    pub fn cut(&mut self) {
        self.link = None;
    }

    /// Says something.
    pub async fn say(&self, messages: Vec<pb::AgentMessage>) {
        let link = self.link.as_ref().expect("a stream");
        within("room in the stream", link.out.send(pb::JoinRequest { messages })).await.expect("a stream");
    }

    /// Lets go of what a person kept.
    pub async fn let_go(&self, id: &str) {
        let kept = self.edit(id, |person| std::mem::take(&mut person.kept));
        assert!(!kept.is_empty(), "{id} has kept nothing");
        self.say(kept).await;
    }

    /// Takes one more person in, who has registered already.
    pub fn add(&self, person: Person) {
        self.shared.change(|state| state.people.insert(person.id.clone(), person));
    }

    /// Changes a person.
    pub fn edit<T>(&self, id: &str, change: impl FnOnce(&mut Person) -> T) -> T {
        self.shared.change(|state| change(state.people.get_mut(id).expect("a person of this host")))
    }

    /// Looks in.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state.lock().unwrap())
    }

    /// Waits until something is so.
    pub async fn until<T>(&self, what: &str, mut found: impl FnMut(&State) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        within(what, async {
            loop {
                if let Some(found) = self.look(&mut found) {
                    return found;
                }
                changed.changed().await.expect("the host is there");
            }
        })
        .await
    }

    /// Waits until a person's bookings are these, in hours of the Monday.
    pub async fn until_booked(&self, id: &str, hours: &[(i64, i64)]) {
        let what = format!("{id} is booked at {hours:?}");
        self.until(&what, |state| (state.person(id).booked_hours() == hours).then_some(())).await;
    }

    /// Waits until a person has kept an answer.
    pub async fn until_kept(&self, id: &str) {
        self.until("an answer is kept", |state| (!state.person(id).kept.is_empty()).then_some(())).await;
    }

    /// Returns when the scheduler has done with all that was said before: an attempt that nobody knows is asked for, and
    /// what became of it is told.
    pub async fn barrier(&self, id: &str) {
        let meeting_id = uuid::Uuid::new_v4().to_string();
        let resolve = pb::Resolve { participant_id: id.into(), meeting_id: meeting_id.clone(), attempt: 1 };
        self.say(vec![says(pb::agent_message::Message::Resolve(resolve))]).await;
        let told =
            |state: &State| state.releases_of(id).iter().any(|r| r.meeting_id == meeting_id).then_some(());
        self.until("what became of an unknown attempt", told).await;
    }

    /// Waits for the end of the stream.
    pub async fn ended(&self) -> Result<(), tonic::Status> {
        self.until("the stream ends", |state| state.end.clone()).await
    }

    /// Nobody's promises overlapped, and nobody else was named here.
    pub fn check(&self) {
        self.look(|state| {
            for person in state.people.values() {
                assert_eq!(person.faults, Vec::<String>::new());
            }
            assert_eq!(state.strangers(), Vec::<String>::new());
        });
    }
}

async fn listen(
    shared: &Shared,
    mut stream: tonic::Streaming<pb::JoinResponse>,
    says: &mpsc::Sender<pb::JoinRequest>,
) -> Result<(), tonic::Status> {
    while let Some(frame) = stream.message().await? {
        let messages = shared.change(|state| {
            state.frames += 1;
            let hears = frame.messages.into_iter().filter_map(|m| m.message);
            hears.flat_map(|m| state.hear(m)).collect::<Vec<_>>()
        });
        for frame in quorate::wire::frames::agent_frames(messages) {
            if says.send(frame).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
