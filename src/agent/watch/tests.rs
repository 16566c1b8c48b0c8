use super::super::config::Folder;
use super::*;

const EMPTY: &str = "BEGIN:VCALENDAR\nVERSION:2.0\nEND:VCALENDAR\n";

fn with_event(hour: u8) -> String {
    format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nDTSTART:20250701T{hour:02}0000Z\nDURATION:PT1H\n\
         END:VEVENT\nEND:VCALENDAR\n"
    )
}

fn of_folder(folder: &Path) -> AgentConfig {
    AgentConfig {
        scheduler: String::new(),
        participants: Vec::new(),
        folder: Some(Folder::from(folder.to_owned())),
        data_dir: folder.join("data"),
    }
}

fn read(config: &AgentConfig) -> Files {
    Files::read(config.clone(), Clock::start(), config.everyone().unwrap()).0
}

fn look(files: &mut Files) -> Vec<String> {
    look_at(files, &[])
}

fn look_at(files: &mut Files, touched: &[&Path]) -> Vec<String> {
    let touched = touched.iter().map(|path| path.to_path_buf()).collect();
    in_words(files.changes(&touched))
}

fn in_words(changes: Vec<Change>) -> Vec<String> {
    let each = |change| match change {
        Change::Changed(id, loaded) => match loaded.calendar {
            Ok(_) => format!("{id} changed: {} events", loaded.events),
            Err(_) => format!("{id} broken"),
        },
        Change::Added(config, loaded) => format!("{} added: {} events", config.id, loaded.events),
        Change::Removed(id) => format!("{id} removed"),
    };
    changes.into_iter().map(each).collect()
}

#[test]
fn files_of_a_folder_change_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("alice.ics"), EMPTY).unwrap();
    let mut files = read(&of_folder(folder.path()));
    assert!(look(&mut files).is_empty());

    fs::write(file("alice.ics"), with_event(9)).unwrap();
    fs::write(file("bob.ics"), with_event(9)).unwrap();
    fs::write(file("no id at all.ics"), EMPTY).unwrap();
    fs::write(file("alice.quorate.ics"), with_event(10)).unwrap();
    assert_eq!(look(&mut files), ["alice changed: 1 events", "bob added: 1 events"]);
    assert!(look(&mut files).is_empty());

    // The same content in another file, and the same file touched.
    fs::write(file("draft"), with_event(9)).unwrap();
    fs::rename(file("draft"), file("alice.ics")).unwrap();
    assert!(look_at(&mut files, &[&file("alice.ics"), &file("bob.ics")]).is_empty());

    fs::write(file("bob.ics"), "BEGIN:VCALENDAR\n").unwrap();
    assert_eq!(look(&mut files), ["bob broken"]);
    fs::remove_file(file("bob.ics")).unwrap();
    assert_eq!(look(&mut files), ["bob removed"]);
    fs::write(file("bob.ics"), EMPTY).unwrap();
    assert_eq!(look(&mut files), ["bob added: 0 events"]);
}

#[test]
fn nobody_has_left_because_a_file_that_was_named_or_the_folder_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let calendars = folder.path().join("calendars");
    fs::create_dir(&calendars).unwrap();
    let (alice, bob) = (folder.path().join("alice.ics"), calendars.join("bob.ics"));
    fs::write(&alice, EMPTY).unwrap();
    fs::write(&bob, EMPTY).unwrap();
    let mut config = of_folder(&calendars);
    let named = Folder::from(folder.path().to_owned()).participant(&alice).unwrap();
    config.participants.push(named);
    let mut files = read(&config);
    fs::rename(&calendars, folder.path().join("away")).unwrap();
    fs::remove_file(&alice).unwrap();
    assert_eq!(look(&mut files), ["alice broken", "bob broken"]);
    assert!(look(&mut files).is_empty());
    fs::rename(folder.path().join("away"), &calendars).unwrap();
    fs::write(&alice, with_event(9)).unwrap();
    assert_eq!(look(&mut files), ["alice changed: 1 events", "bob changed: 0 events"]);
}

#[test]
fn what_nobody_changes_is_worked_out_ahead_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("alice.ics"), with_event(9)).unwrap();
    let mut files = read(&of_folder(folder.path()));
    let path = folder.path().join("alice.ics");
    let answers =
        |files: &Files| files.known[&path].loaded.calendar.as_ref().map(std::sync::Arc::as_ptr).unwrap();
    let (now, first) = (files.clock.now().wall, answers(&files));
    assert_eq!(files.prepare_again(now + chrono::TimeDelta::weeks(3)), 0);
    // Read again, though nothing is another: the calendar that answers is the one that is worked out.
    assert!(look_at(&mut files, &[&path]).is_empty());
    assert_eq!(answers(&files), first);
    let later = now + chrono::TimeDelta::weeks(5);
    assert_eq!(files.prepare_again(later), 1);
    assert_eq!(files.prepare_again(later), 0);
    assert_eq!(files.prepare_again(later + chrono::TimeDelta::weeks(5)), 1);
    fs::write(&path, with_event(10)).unwrap();
    assert_eq!(look_at(&mut files, &[&path]).len(), 1);
    assert_ne!(answers(&files), first);
}

#[tokio::test]
async fn the_system_tells_of_changes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("alice.ics"), EMPTY).unwrap();
    let files = read(&of_folder(folder.path()));
    // Written before the watcher is there: the first look finds it.
    fs::write(folder.path().join("alice.ics"), with_event(9)).unwrap();
    let (commands, mut told) = mpsc::channel(4);
    let task = tokio::spawn(run(files, commands));
    let next = async |told: &mut mpsc::Receiver<Command>| match told.recv().await {
        Some(Command::Calendars(changes)) => in_words(changes),
        other => panic!("{other:?}"),
    };
    assert_eq!(next(&mut told).await, ["alice changed: 1 events"]);
    fs::write(folder.path().join("bob.ics"), with_event(10)).unwrap();
    assert_eq!(next(&mut told).await, ["bob added: 1 events"]);
    drop(told);
    task.await.unwrap();
}

#[tokio::test]
async fn without_a_watcher_the_time_counts() {
    let (sender, mut events) = mpsc::channel(1);
    drop(sender);
    let started = Instant::now();
    assert!(quiet(&mut events, QUIET).await.is_empty());
    assert!(started.elapsed() >= QUIET);
    let missing = BTreeSet::from([PathBuf::from("no such folder")]);
    assert!(notified(&missing, mpsc::channel(1).0).is_err());
}
